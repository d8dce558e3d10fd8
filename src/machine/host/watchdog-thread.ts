/** The thread of the watchdog. */
import { parentPort } from "node:worker_threads";
import { type WatchdogData, watch } from "./watchdog.ts";

// It is started with the kernel thread and told later what there is to watch.
parentPort!.once("message", (data: WatchdogData) => {
  watch(data, () => parentPort!.postMessage("watching"));
});
