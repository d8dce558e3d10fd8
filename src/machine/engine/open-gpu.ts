/** The adapter that a machine was asked for, opened, or an error with what was tried. */
import { PAGE_SIZE } from "../../base/index.ts";
import { AdapterError, Gpu, GpuError } from "../../driver/index.ts";
import { HmmError } from "../error.ts";

export interface GpuChoice {
  readonly device: "auto" | "hardware" | "software" | "none";
  /** Bytes that pages may take. */
  readonly deviceMemory: number;
}

/** Throws ENODEV when there is no such adapter, ENOMEM when it lacks the memory. */
export async function openGpu({ device, deviceMemory }: GpuChoice): Promise<Gpu | undefined> {
  if (device === "none") return undefined;
  try {
    return await Gpu.open({ prefer: device, frames: Math.floor(deviceMemory / PAGE_SIZE) });
  } catch (error) {
    const detail = (error as Error).message;
    if (error instanceof AdapterError) {
      throw new HmmError({ code: "ENODEV", call: "create", detail, cause: error });
    }
    if (error instanceof GpuError) {
      throw new HmmError({ code: "ENOMEM", call: "create", detail, cause: error });
    }
    throw error;
  }
}
