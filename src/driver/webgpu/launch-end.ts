/** How a launch ends. */
import { EINVAL, ENODEV, type Result } from "../../base/index.ts";
import { GpuError } from "./gpu.ts";
import type { LaunchStats } from "./stats.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";
import { KernelCompileError } from "./wgsl/index.ts";

export interface LaunchOutcome {
  /** 0 or a negated errno. */
  readonly result: Result;
  readonly stats: LaunchStats;
  /** Why it ended, when it failed. */
  readonly refusal?: {
    readonly reason: string;
    readonly address?: number;
    readonly write?: boolean;
    readonly invocation?: number;
  };
  readonly cause?: unknown;
}

/** How a launch ended, without what it did. */
export type LaunchEnd = Omit<LaunchOutcome, "stats">;

export function failureOf(device: WebGpuDevice, error: unknown): LaunchEnd {
  if (error instanceof KernelCompileError) {
    return { result: -EINVAL, refusal: { reason: error.message }, cause: error };
  }
  // Anything else is a bug of ours: it must not look like a failing GPU.
  if (!(error instanceof GpuError)) throw error;
  const { failure } = device;
  const lost = device.gpu.lossReason;
  const reason = lost === undefined ? "the GPU failed" : `the GPU is lost: ${lost}`;
  const stranded = device.memory.frames.pageCount;
  const loss = stranded === 0 ? "" : `; ${stranded} pages that only it had are lost`;
  return { result: -ENODEV, refusal: { reason: reason + loss }, cause: failure ?? error };
}
