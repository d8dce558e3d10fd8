/**
 * `onespace/engine`: the engine itself, for those who write drivers or study HMM. The doors of
 * the folders, by name; each explains itself in its `index.ts`.
 */
import * as base from "./base/index.ts";
import * as check from "./check/index.ts";
import * as cpu from "./cpu/index.ts";
import * as device from "./device/index.ts";
import * as devmem from "./devmem/index.ts";
import * as dma from "./dma/index.ts";
import * as driver from "./driver/index.ts";
import * as hmm from "./hmm/index.ts";
import * as machine from "./machine/index.ts";
import * as mm from "./mm/index.ts";
import * as notifier from "./notifier/index.ts";
import * as phys from "./phys/index.ts";
import * as sync from "./sync/index.ts";
import * as trace from "./trace/index.ts";

export {
  base,
  check,
  cpu,
  device,
  devmem,
  dma,
  driver,
  hmm,
  machine,
  mm,
  notifier,
  phys,
  sync,
  trace,
};
