import { describe, expect, it } from "vitest";
import { assert, PAGE_SIZE } from "../../src/base/index.ts";
import { munmap } from "../../src/mm/index.ts";
import { evictRange, serviceFault } from "../../src/svm/index.ts";
import type { Sleeps } from "../../src/sync/index.ts";
import { SvmDevice, SvmMirror } from "../engine/svm/svm-device.ts";
import { pageAt, type TestWorld } from "../engine/test-world.ts";
import { killAtEveryStep, type Scenario } from "./kill-each-step.ts";

const SEEDS = 6;

/** The mirror of a world; the scenario makes it. */
const mirrors = new WeakMap<TestWorld, SvmMirror>();
const mirrorOf = (world: TestWorld): SvmMirror => mirrors.get(world)!;

/** Pages 0 to 7: 0 to 3 written and on the device, in one range; 5 written. */
function setUp(world: TestWorld): void {
  const mirror = new SvmMirror(world.space, new SvmDevice(world.memory, 8));
  mirrors.set(world, mirror);
  world.shadows.push(mirror);
  world.map(0, 8);
  for (const page of [0, 1, 2, 3, 5]) world.store(page, 100 + page);
  world.run(serviceFault(mirror.svm, pageAt(0), { migrate: true }));
}

/** Whatever happened, nothing is lost, and the device and its driver go on. */
function afterwards(world: TestWorld): void {
  const mirror = mirrorOf(world);
  const values = [0, 1, 2, 3, 5].map((page) => world.load(page));
  const isUnmapped = values[0]! < 0;
  for (const [i, page] of [0, 1, 2, 3, 5].entries()) {
    const isGone = isUnmapped && page < 2;
    assert(isGone || values[i] === 100 + page, () => `page ${page} holds ${values[i]}`);
  }
  if (!mirror.svm.isClosed) {
    const result = world.run(serviceFault(mirror.svm, pageAt(5), { write: true, migrate: true }));
    assert(result === 0, () => `the device is served no more: ${result}`);
    world.check();
  }
  world.run(mirror.svm.close());
  world.check();
  assert(mirror.svm.ranges.intervalCount === 0, "a subscription is left");
}

const scenario = (victim: Scenario["victim"], rivals?: Scenario["rivals"]): Scenario => ({
  setUp,
  victim,
  rivals: rivals ?? ((world) => [world.cpu.load(pageAt(2)), world.cpu.store(pageAt(6), 1)]),
  afterwards,
});

function* evict(world: TestWorld): Sleeps<void> {
  const { svm } = mirrorOf(world);
  using _svm = yield* svm.lock.acquire();
  const range = svm.ranges.find(pageAt(0));
  if (range !== undefined) yield* evictRange(svm, range);
}

const fault = (world: TestWorld, page: number, options = {}): Sleeps<unknown> =>
  serviceFault(mirrorOf(world).svm, pageAt(page), options);

const unmap = (world: TestWorld): Sleeps<unknown> => munmap(world.space, pageAt(0), 2 * PAGE_SIZE);

describe("a task that is killed at any step leaves everything right", () => {
  it.each<[string, Scenario]>([
    ["in a fault of the device", scenario((world) => fault(world, 4, { write: true }))],
    ["in a fault that migrates", scenario((world) => fault(world, 4, { migrate: true }))],
    ["in a fault that must migrate", scenario((world) => fault(world, 4, { devmemOnly: true }))],
    ["in bringing a range home", scenario(evict)],
    ["in evicting device memory", scenario((world) => mirrorOf(world).device.memory.evictAll())],
    ["in munmap, while the device is told", scenario(unmap)],
    ["in a CPU's fault on the device", scenario((world) => world.cpu.load(pageAt(1)))],
    [
      "in a fault that removes garbage",
      scenario(
        (world) => fault(world, 4),
        (world) => [unmap(world)],
      ),
    ],
    ["in closing", scenario((world) => mirrorOf(world).svm.close())],
  ])("%s", (_title, each) => {
    expect(killAtEveryStep(each, SEEDS).kills).toBeGreaterThan(SEEDS);
  });
});
