/**
 * What `readMostly` brings: a kernel counts up a word of each page of a table, then the CPU reads
 * them where they lie, again and again; with the advice and without. Pages to the device, and time.
 */
import { type Kernel, Machine, ptr, u32, whyNotHost } from "../src/machine/index.ts";
import { median, type Row } from "./ratio.ts";

/** 16 MiB. */
const PAGES = 4096;
const PAGE_BYTES = 4096;
const BYTES = PAGES * PAGE_BYTES;
const PASSES = 9;
const NAME = "advice: 16 MiB that a kernel changes and the CPU reads, in turns";
const WITHOUT = "the same without readMostly";

interface Side {
  readonly pages: number[];
  readonly milliseconds: number[];
}

interface Loop {
  readonly machine: Machine;
  readonly kernel: Kernel<{ table: ReturnType<typeof ptr<typeof u32>> }>;
  readonly table: number;
}

export async function benchAdvice(): Promise<Row[]> {
  const cpu = whyNotHost() === undefined ? "host" : "scoped";
  await using machine = await Machine.create({ cpu, deviceMemory: 32 * 2 ** 20 });
  const table = await machine.space.mmap({ bytes: BYTES });
  const kernel = machine.kernel({
    name: "count-up",
    args: { table: ptr(u32) },
    code: `fn main(i: u32) {
      let at = args.table + ${PAGE_BYTES}u * i;
      store_u32(at, load_u32(at) + 1u);
    }`,
  });
  const loop = { machine, kernel, table };
  const sides = { without: newSide(), with: newSide() };
  await run(loop, newSide(), 1);
  let count = 1;
  for (let pass = 0; pass < PASSES; pass++) {
    for (const readMostly of [false, true]) {
      await machine.space.advise({ start: table, bytes: BYTES }, { readMostly });
      // The first one finds what the other side has left.
      await run(loop, newSide(), ++count);
      await run(loop, readMostly ? sides.with : sides.without, ++count);
    }
  }
  return [pagesRow(sides), timeRow(sides, cpu)];
}

const newSide = (): Side => ({ pages: [], milliseconds: [] });

async function run({ machine, kernel, table }: Loop, side: Side, count: number): Promise<void> {
  const start = performance.now();
  const { pagesToDevice } = await kernel.run(PAGES, { table });
  await machine.space.populate({ start: table, bytes: BYTES }, "read");
  const words = new Uint32Array(machine.space.window, table, BYTES / 4);
  let wrong = 0;
  for (let at = 0; at < words.length; at += PAGE_BYTES / 4) if (words[at] !== count) wrong++;
  side.milliseconds.push(performance.now() - start);
  side.pages.push(pagesToDevice);
  if (wrong > 0) throw new Error(`advice: ${wrong} words are not ${count}`);
}

type Sides = { readonly without: Side; readonly with: Side };

function pagesRow(sides: Sides): Row {
  const [ours, theirs] = [median(sides.with.pages), median(sides.without.pages)];
  const ratios = sides.with.pages.map((pages, i) => pages / sides.without.pages[i]!);
  const note = `${ours} pages against ${theirs} a turn`;
  return { name: `${NAME}, pages moved to the device`, versus: WITHOUT, ratios, note };
}

function timeRow({ with: ours, without }: Sides, cpu: string): Row {
  const ratios = ours.milliseconds.map((ms, i) => ms / without.milliseconds[i]!);
  const [mine, theirs] = [ours, without].map((side) => median(side.milliseconds).toFixed(1));
  const note = `${mine} ms against ${theirs} ms a turn, backend ${cpu}`;
  return { name: `${NAME}, time`, versus: WITHOUT, ratios, note };
}
