/**
 * What a launch costs that has nearly nothing to do: 64 invocations whose pages are all there,
 * against a raw submission and its end. Twice: the engine on this thread, and on its own.
 */
import { Machine, ptr, u32, whyNotHost } from "../src/machine/index.ts";
import { alternate, type Row } from "./ratio.ts";
import { type RawKernel, rawKernel } from "./raw-kernel.ts";

const INVOCATIONS = 64;
const LAUNCHES = 50;
/** What a round of ours reads back. */
const ANSWER_BYTES = 2 ** 14;

const PLACES = [
  ["scoped", "launch: 64 invocations, nothing missing, engine on this thread"],
  ["host", "launch: 64 invocations, nothing missing, engine on its own thread"],
] as const;

export async function benchLaunch(): Promise<Row[]> {
  const body = "fn main(i: u32) { buffer0[i] = i; }";
  const peer = await rawKernel([new Uint32Array(ANSWER_BYTES / 4)], body);
  const rows: Row[] = [];
  for (const [cpu, name] of PLACES) {
    const obstacle = cpu === "host" ? whyNotHost() : undefined;
    if (obstacle === undefined) rows.push(await measure(cpu, name, peer));
    else console.log(`${name}: not here: ${obstacle.reason} (${obstacle.cure})`);
  }
  return [...rows, await measureAnswer(peer)];
}

const repeated = (launch: () => Promise<unknown>) => async (): Promise<void> => {
  for (let k = 0; k < LAUNCHES; k++) await launch();
};

/** What hearing of the end by bytes costs: the floor of the other rows. */
async function measureAnswer(peer: RawKernel): Promise<Row> {
  const { ratios, oursMs, peerMs } = await alternate(
    repeated(() => peer.answer(INVOCATIONS, ANSWER_BYTES)),
    repeated(() => peer.run(INVOCATIONS)),
  );
  const name = "launch: the same raw submission, and 16 KiB of it mapped";
  return { name, versus: "a raw submission and its end", ratios, note: noteOf(oursMs, peerMs) };
}

const noteOf = (oursMs: number, peerMs: number): string => {
  const [ours, theirs] = [oursMs, peerMs].map((ms) => ((ms / LAUNCHES) * 1000).toFixed(0));
  return `${ours} us against ${theirs} us a launch`;
};

async function measure(cpu: "scoped" | "host", name: string, peer: RawKernel): Promise<Row> {
  await using machine = await Machine.create({ cpu, deviceMemory: 16 * 2 ** 20 });
  const out = machine.space.array(u32, INVOCATIONS);
  const kernel = machine.kernel({
    name: "count",
    args: { out: ptr(u32) },
    code: "fn main(i: u32) { store_u32(args.out + 4u * i, i); }",
  });
  let missing = 0;
  await kernel.run(INVOCATIONS, { out });
  const { ratios, oursMs, peerMs } = await alternate(
    repeated(async () => {
      missing += (await kernel.run(INVOCATIONS, { out })).faults;
    }),
    repeated(() => peer.run(INVOCATIONS)),
  );
  if (missing > 0) throw new Error(`launch: ${missing} faults when warm`);
  const expected = await peer.read(0);
  await using result = await machine.space.access(out, "read");
  for (let i = 0; i < INVOCATIONS; i++) {
    if (result.u32[i] !== expected[i]) throw new Error(`launch: word ${i} differs`);
  }
  const note = `${noteOf(oursMs, peerMs)}, results equal`;
  return { name, versus: "a raw submission and its end", ratios, note };
}
