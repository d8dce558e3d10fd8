/** Where JavaScript cannot wait for the device, blocks are made of memory that is here. */
import { beforeAll, describe, expect, it } from "vitest";
import { type Machine, ptr, struct, u32 } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

const Item = struct("Item", { value: u32, next: ptr(() => Item) });

/** A launch that stores to the pages of a list, and takes others near them along. */
async function launchOverList(machine: Machine): Promise<void> {
  const { space } = machine;
  let head = 0;
  for (let i = 0; i < 1500; i++) head = space.alloc(Item, { value: i, next: head }).address;
  const kernel = machine.kernel({
    args: { head: ptr(Item) },
    code: "fn main(i: u32) { for (var at = args.head; at != 0u; at = Item_next(at)) { set_Item_value(at, 1u); } }",
  });
  await kernel.run(1, { head });
  expect(machine.report.residentPages).toBeGreaterThan(3);
  expect(() => space.at(Item, head).value).toThrow("EAGAIN");
}

describe("a new block after a launch", () => {
  it("is touched at once, whatever pages the launch took along", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const { space } = machine;
      await launchOverList(machine);
      const used = space.heapUsage;
      for (let i = 0; i < 2000; i++) {
        const item = space.alloc(Item, { value: i });
        expect([item.value, item.next]).toEqual([i, 0]);
      }
      for (const length of [1, 100, 1000, 2000, 30_000, 300_000]) {
        const numbers = space.array(u32, length);
        numbers.fill(length);
        expect(numbers.at(length - 1)).toBe(length);
      }
      expect(space.heapUsage.blocks).toBe(used.blocks + 2006);
      // No more than these take, and a page or a few that each size had begun.
      expect(space.heapUsage.bytesHeld).toBeLessThan(used.bytesHeld + 4 * 350_000);
      machine.check();
    });
  });

  it("does so while a launch runs, and again and again", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const { space } = machine;
      const held: number[] = [];
      const bump = machine.kernel({
        args: { at: ptr(Item) },
        code: "fn main(i: u32) { set_Item_value(args.at, Item_value(args.at) + 1u); }",
      });
      for (let turn = 0; turn < 20; turn++) {
        const item = space.alloc(Item, { value: turn });
        const running = bump.run(1, { at: item });
        for (let i = 0; i < 5; i++) {
          await new Promise((resolve) => setImmediate(resolve));
          space.free(space.alloc(Item, { value: i }).address);
        }
        await running;
        space.free(item.address);
        held.push(space.heapUsage.bytesHeld);
      }
      expect(Math.max(...held)).toBeLessThan(10 * 4096);
      machine.check();
    });
  });
});

describe("a block whose first value is refused", () => {
  it("is given back", async () => {
    await withMachine({ device: "none" }, async ({ space }) => {
      const { blocks } = space.heapUsage;
      expect(() => space.alloc(Item, { valeu: 1 } as never)).toThrow("Item has no field valeu");
      expect(() => space.alloc(Item, null as never)).toThrow("Item must be an object");
      expect(space.heapUsage.blocks).toBe(blocks);
    });
  });
});
