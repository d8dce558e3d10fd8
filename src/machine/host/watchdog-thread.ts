/** The thread of the watchdog. */
import { parentPort, workerData } from "node:worker_threads";
import { type WatchdogData, watch } from "./watchdog.ts";

parentPort!.postMessage("watching");
watch(workerData as WatchdogData);
