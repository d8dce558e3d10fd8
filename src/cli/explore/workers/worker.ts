/** A worker thread that does one job after another. */
import { parentPort } from "node:worker_threads";
import type { Job } from "./job.ts";
import { runJob } from "./job.ts";

const port = parentPort!;
port.on("message", async (job: Job) => {
  try {
    const answer = await runJob(job, (progress) => port.postMessage({ progress }));
    port.postMessage({ answer });
  } catch (error) {
    port.postMessage({ error: error instanceof Error ? error.message : String(error) });
  }
});
