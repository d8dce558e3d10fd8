import { describe, expect, it } from "vitest";
import { assert, PAGE_SIZE } from "../../src/base/index.ts";
import { munmap } from "../../src/mm/index.ts";
import type { Sleeps } from "../../src/sync/index.ts";
import {
  type AccessOptions,
  TestDevice,
  type TestDeviceOptions,
  TestMirror,
} from "../engine/device/test-device.ts";
import { pageAt, type TestWorld } from "../engine/test-world.ts";
import { killAtEveryStep, type Scenario } from "./kill-each-step.ts";

const SEEDS = 6;
const WRITTEN = [0, 1, 2, 3, 5];

/** The mirror of a world; the scenario makes it. */
const mirrors = new WeakMap<TestWorld, TestMirror>();
const mirrorOf = (world: TestWorld): TestMirror => mirrors.get(world)!;

/** Pages 0 to 7: 0 to 3 written and on the device; 5 written. */
const setUp =
  (options: TestDeviceOptions) =>
  (world: TestWorld): void => {
    const device = new TestDevice(world.memory, { frames: 8, readsAhead: true, ...options });
    const mirror = new TestMirror(world.space, device);
    mirrors.set(world, mirror);
    world.shadows.push(mirror.shadow);
    world.map(0, 8);
    for (const page of WRITTEN) world.store(page, 100 + page);
    assert(world.run(mirror.moveIn(0, 4)) === 4, "four pages move");
  };

/** Whatever happened, nothing is lost, and the device and its driver go on. */
function afterwards(world: TestWorld): void {
  const mirror = mirrorOf(world);
  const values = WRITTEN.map((page) => world.load(page));
  const isUnmapped = values[0]! < 0;
  for (const [i, page] of WRITTEN.entries()) {
    const isGone = isUnmapped && page < 2;
    assert(isGone || values[i] === 100 + page, () => `page ${page} holds ${values[i]}`);
  }
  if (!mirror.shadow.isClosed) {
    const result = world.run(mirror.serve(5, { write: true, how: "move" }));
    assert(result === 0, () => `the device is served no more: ${result}`);
    world.check();
  }
  world.run(mirror.shadow.close());
  world.check();
  world.run(mirror.device.memory.evictAll());
  mirror.device.memory.remove();
}

const serve = (world: TestWorld, page: number, options: AccessOptions): Sleeps<unknown> =>
  mirrorOf(world).serve(page, options);
const evictAll = (world: TestWorld): Sleeps<unknown> => mirrorOf(world).device.memory.evictAll();
const unmap = (world: TestWorld): Sleeps<unknown> => munmap(world.space, pageAt(0), 2 * PAGE_SIZE);

const rivals = (world: TestWorld): readonly Sleeps<unknown>[] => [
  world.cpu.load(pageAt(2)),
  world.cpu.store(pageAt(6), 1),
];

const VICTIMS: [string, Scenario["victim"]][] = [
  ["in a fault of the device", (world) => serve(world, 4, { around: 4 })],
  ["in a fault that moves", (world) => serve(world, 5, { write: true, how: "move", around: 4 })],
  ["in bringing a range home", (world) => mirrorOf(world).shadow.moveHome(pageAt(0), pageAt(4))],
  ["in evicting device memory", evictAll],
  ["in making room", (world) => mirrorOf(world).device.memory.makeRoom(7)],
  ["in munmap, while the device is told", unmap],
  ["in a CPU's fault on the device", (world) => world.cpu.load(pageAt(1))],
  ["in closing", (world) => mirrorOf(world).shadow.close()],
];

describe.each<[string, TestDeviceOptions]>([
  ["that reaches RAM", {}],
  ["that gets copies", { reachesRam: false }],
])("a task that shares pages with a device %s and is killed at any step", (_title, options) => {
  it.each(VICTIMS)("leaves everything right %s", (_name, victim) => {
    const scenario = { setUp: setUp(options), victim, rivals, afterwards };
    expect(killAtEveryStep(scenario, SEEDS).kills).toBeGreaterThan(SEEDS);
  });
});
