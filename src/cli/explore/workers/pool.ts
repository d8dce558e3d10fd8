/** Jobs over worker threads: as many at a time as there are workers, in the order given. */
import { Worker } from "node:worker_threads";
import type { Progress } from "../../../explore/index.ts";
import type { Answer, Job } from "./job.ts";

interface Message {
  readonly progress?: Progress;
  readonly answer?: Answer;
  readonly error?: string;
}

export interface PoolOptions {
  readonly workers: number;
  /** Where the job at `index` is now. */
  readonly onProgress?: (index: number, progress: Progress) => void;
  /** The job at `index` is done. Answer false: the others stop, wherever they are. */
  readonly onAnswer?: (index: number, answer: Answer) => boolean;
}

/**
 * The answers of all jobs, in their order; `undefined` for those that were stopped. Rejects when
 * a job throws or a worker dies, naming the job.
 */
export async function runJobs(
  jobs: readonly Job[],
  options: PoolOptions,
): Promise<(Answer | undefined)[]> {
  const answers = new Array<Answer | undefined>(jobs.length).fill(undefined);
  let next = 0;
  let isStopped = false;
  const workers: Worker[] = [];
  const stop = async (): Promise<void> => {
    isStopped = true;
    await Promise.all(workers.map((each) => each.terminate()));
  };
  const serve = async (): Promise<void> => {
    const worker = new Worker(new URL(`worker.${extensionOf(import.meta.url)}`, import.meta.url));
    workers.push(worker);
    try {
      while (next < jobs.length && !isStopped) {
        const index = next++;
        const answer = await ask(worker, jobs[index]!, (progress) =>
          options.onProgress?.(index, progress),
        );
        answers[index] = answer;
        if (options.onAnswer?.(index, answer) === false) await stop();
      }
    } catch (error) {
      // Those that were stopped have nothing more to say.
      if (isStopped) return;
      await stop();
      throw error;
    } finally {
      await worker.terminate();
    }
  };
  const count = Math.min(options.workers, jobs.length);
  await Promise.all(Array.from({ length: count }, serve));
  return answers;
}

const extensionOf = (url: string): string => (url.endsWith(".ts") ? "ts" : "js");

function ask(worker: Worker, job: Job, onProgress: (at: Progress) => void): Promise<Answer> {
  const name = job.kind === "visit" ? job.id : job.scenario;
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      worker.off("message", onMessage).off("error", onError).off("exit", onExit);
      act();
    };
    const fail = (why: string): void => settle(() => reject(new Error(`${name}: ${why}`)));
    const onMessage = ({ progress, answer, error }: Message): void => {
      if (progress !== undefined) onProgress(progress);
      if (answer !== undefined) settle(() => resolve(answer));
      if (error !== undefined) fail(error);
    };
    const onError = (error: Error): void => fail(error.message);
    const onExit = (code: number): void => fail(`its worker ended with status ${code}`);
    worker.on("message", onMessage).on("error", onError).on("exit", onExit);
    worker.postMessage(job);
  });
}
