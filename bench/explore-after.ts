/**
 * What exploring leaves behind: the engine's work on pages in a thread where somebody has
 * explored, beside one where nobody has. In threads of its own, as the command explores, nothing
 * is left; on the same thread the columns that exploring watches have been proxies, and V8 keeps
 * the code that they went through slow for good.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { type Explored, PAGES } from "./explore-thread.ts";
import { median, type Row } from "./ratio.ts";

const ROUNDS = 31;

export async function benchAfter(): Promise<Row[]> {
  const nobody = await start("nobody");
  const rows: Row[] = [];
  for (const where of ["in threads", "on this thread"] as const) {
    const explored = await start(where);
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      theirs.push(await roundOf(nobody));
      ours.push(await roundOf(explored));
    }
    await explored.terminate();
    const [is, was] = [ours, theirs].map((ns) => (median(ns) / PAGES).toFixed(0));
    const what = `touch, fork, exit, munmap of ${PAGES.toLocaleString("en")} pages`;
    rows.push({
      name: `explore: ${what} after exploring ${where}`,
      versus: "the same where nobody explored",
      ratios: ours.map((ns, i) => ns / theirs[i]!),
      note: `${is} ns against ${was} ns a page`,
    });
  }
  await nobody.terminate();
  return rows;
}

async function start(workerData: Explored): Promise<Worker> {
  const worker = new Worker(new URL("./explore-thread.js", import.meta.url), { workerData });
  // An error of the thread rejects this.
  await once(worker, "message");
  return worker;
}

async function roundOf(worker: Worker): Promise<number> {
  worker.postMessage("round");
  const [ns] = (await once(worker, "message")) as [number];
  return ns;
}
