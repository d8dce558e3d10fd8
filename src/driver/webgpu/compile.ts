/**
 * From a wrapped kernel to a pipeline, with what the compiler says given in the user's lines;
 * and the one binding layout that all pipelines share.
 */
import {
  type CompileMessage,
  KernelCompileError,
  type KernelSource,
  type Shader,
  wrapKernel,
} from "./wgsl/index.ts";

/** A pipeline, made from one kernel for one size of its store log. */
export interface Compiled {
  readonly pipeline: GPUComputePipeline;
  /** It keeps records of atomics. */
  readonly isAtomic: boolean;
  /** Invocations run in groups: a group is what runs again. */
  readonly isGrouped: boolean;
}

/** Each kernel, in each way, is compiled once. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #layout: GPUBindGroupLayout;
  // KernelSource -> 2 * size of the log + 1 if direct -> Compiled, or who will know
  readonly #compiled = new WeakMap<KernelSource, Map<number, Compiled | Promise<Compiled>>>();
  #compiling = 0;

  constructor(device: GPUDevice, layout: GPUBindGroupLayout) {
    this.#device = device;
    this.#layout = layout;
  }

  get isCompiling(): boolean {
    return this.#compiling > 0;
  }

  /** Whether it has been compiled, or begun to be. */
  isKnown(source: KernelSource, logSize: number, isDirect: boolean): boolean {
    return this.#compiled.get(source)?.has(wayOf(logSize, isDirect)) === true;
  }

  /** If it has been compiled. */
  ready(source: KernelSource, logSize: number, isDirect: boolean): Compiled | undefined {
    const known = this.#compiled.get(source)?.get(wayOf(logSize, isDirect));
    return known instanceof Promise ? undefined : known;
  }

  /** Rejects with `KernelCompileError`. */
  async of(source: KernelSource, logSize: number, isDirect: boolean): Promise<Compiled> {
    const ways = this.#compiled.get(source) ?? new Map<number, Compiled | Promise<Compiled>>();
    this.#compiled.set(source, ways);
    const way = wayOf(logSize, isDirect);
    const known = ways.get(way);
    if (known !== undefined) return known;
    const compiling = this.#begin(source, logSize, isDirect);
    ways.set(way, compiling);
    const compiled = await compiling;
    ways.set(way, compiled);
    return compiled;
  }

  #begin(source: KernelSource, logSize: number, isDirect: boolean): Promise<Compiled> {
    const shader = wrapKernel(source, logSize, isDirect);
    this.#compiling++;
    return compileShader(this.#device, this.#layout, { source, shader }).finally(() => {
      this.#compiling--;
    });
  }
}

const wayOf = (logSize: number, isDirect: boolean): number => 2 * logSize + Number(isDirect);

/** Rejects with `KernelCompileError`. */
async function compileShader(
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
  // At once: whoever waits for the messages first waits for this thread, which may be at work.
  const compiling = device.createComputePipelineAsync({
    label: source.name,
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module, entryPoint: "os_entry" },
  });
  // What is wrong with the module is said better by its messages.
  compiling.catch(() => undefined);
  const { messages } = await module.getCompilationInfo();
  const errors = messages
    .filter(({ type }) => type === "error")
    .map(({ lineNum, linePos, message }) => ({ ...shader.userPlace(lineNum, linePos), message }));
  const error = await scope;
  if (errors.length > 0) fail(errors);
  if (error !== null) fail([{ line: 1, column: 1, message: error.message }]);
  try {
    return {
      pipeline: await compiling,
      isAtomic: shader.isAtomic,
      isGrouped: source.group !== undefined,
    };
  } catch (error) {
    return fail([{ line: 1, column: 1, message: (error as Error).message }]);
  }
}

/** Bindings 0 to 9 of the prelude in `wgsl/wrap-kernel.ts`. */
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
