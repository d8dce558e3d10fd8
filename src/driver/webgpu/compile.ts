/**
 * From a wrapped kernel to a pipeline, with what the compiler says given in the user's lines;
 * and the one binding layout that all pipelines share.
 */
import {
  type CompileMessage,
  KernelCompileError,
  type KernelSource,
  type Shader,
} from "./wgsl/index.ts";

/** A pipeline, made from one kernel for one size of its store log. */
export interface Compiled {
  readonly pipeline: GPUComputePipeline;
}

/** Rejects with `KernelCompileError`. */
export async function compileShader(
  device: GPUDevice,
  layout: GPUBindGroupLayout,
  kernel: { readonly source: KernelSource; readonly shader: Shader },
): Promise<Compiled> {
  const { source, shader } = kernel;
  const fail = (messages: readonly CompileMessage[]): never => {
    throw new KernelCompileError(source.name, messages);
  };
  // Closed before the first await: it must not see the errors of others.
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: source.name, code: shader.wgsl });
  const scope = device.popErrorScope();
  const { messages } = await module.getCompilationInfo();
  const errors = messages
    .filter(({ type }) => type === "error")
    .map(({ lineNum, linePos, message }) => ({ ...shader.userPlace(lineNum, linePos), message }));
  const error = await scope;
  if (errors.length > 0) fail(errors);
  if (error !== null) fail([{ line: 1, column: 1, message: error.message }]);
  try {
    const pipeline = await device.createComputePipelineAsync({
      label: source.name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "os_entry" },
    });
    return { pipeline };
  } catch (error) {
    return fail([{ line: 1, column: 1, message: (error as Error).message }]);
  }
}

/** Bindings 0 to 8 of the prelude in `wgsl/wrap-kernel.ts`. */
export function newLayout(device: GPUDevice): GPUBindGroupLayout {
  const kinds: GPUBufferBindingType[] = [
    "read-only-storage",
    "storage",
    "storage",
    "storage",
    "storage",
    "storage",
    "uniform",
    "uniform",
    "storage",
  ];
  return device.createBindGroupLayout({
    entries: kinds.map((type, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type },
    })),
  });
}
