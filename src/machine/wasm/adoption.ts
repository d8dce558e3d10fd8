/**
 * An existing WebAssembly module in the space: it is not rebuilt, runs on the space's memory, and
 * every pointer of its is an address of the space.
 */
import type { WasmMemory } from "../../cpu/index.ts";
import { type HmmError, hmmError, invalid } from "../error.ts";
import { checkOptions, show } from "../given.ts";
import { type LoadScope, withHooks } from "./hooks.ts";
import { type ModuleHost, ModuleMemory, WASM_PAGE } from "./module-memory.ts";
import { type MemoryUse, rewriteModule } from "./rewrite.ts";
import {
  bytesOf,
  type MemoryDescriptor,
  type WasmExports,
  type WasmGlobal,
  type WasmImports,
  type WasmInstance,
  type WasmModule,
  type WasmSource,
  type WasmTable,
  wasmEngine,
} from "./wasm-api.ts";

/** Addresses from here up belong to `mmap`; the last 64 KiB below stay empty, to catch overruns. */
const LIMIT_MAX = 0x1000_0000 - WASM_PAGE;

export interface AdoptOptions {
  /** The most that the module may grow to. Default and maximum: 256 MiB less 64 KiB. */
  readonly bytes?: number;
  /** Its size at the start, when that is to be more than the module asks for. */
  readonly initialBytes?: number;
  /** The module's binary: for `instantiateWasm`. */
  readonly wasm?: WasmSource;
}

/** For `Module.instantiateWasm` of Emscripten's glue. */
export type InstantiateWasm = (
  imports: WasmImports,
  receive: (instance: WasmInstance, module: WasmModule) => unknown,
) => unknown;

/** (module (import "e" "f" (func (param i32) (result i32))) (export "f" (func 0))) */
const EXPORTED = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f,
  0x02, 0x07, 0x01, 0x01, 0x65, 0x01, 0x66, 0x00, 0x00, 0x07, 0x05, 0x01, 0x01, 0x66, 0x00, 0x00,
]);

/** Emscripten's name for what `sbrk` calls. Its own one wants 96 MiB more than is needed. */
const RESIZE_HEAP = "emscripten_resize_heap";
const RESIZE_STEP = 2 ** 20;

export class Adoption {
  readonly #host: ModuleHost;
  readonly #scope: LoadScope | undefined;
  readonly #options: AdoptOptions;
  readonly #memory: ModuleMemory;
  readonly #engine = wasmEngine();
  // rewritten module -> what became of its memory
  readonly #known = new WeakMap<WasmModule, MemoryUse>();
  #instance: WasmInstance | undefined;
  #hasGivenMemory = false;

  constructor(host: ModuleHost, options: AdoptOptions = {}, scope?: LoadScope) {
    const limit = limitOf(options);
    this.#host = host;
    this.#scope = scope;
    this.#options = options;
    this.#memory = new ModuleMemory(host, limit / WASM_PAGE);
    if (options.wasm !== undefined) this.#open(rewriteModule(bytesOf(options.wasm)).memory);
  }

  /** Stands in for the module's memory wherever glue takes one (`Module.wasmMemory`). */
  get memory(): WasmMemory {
    return this.#memory.facade;
  }

  /** What the module has now: bracket it while its code runs. Grows with the module. */
  get range(): { readonly start: 0; readonly bytes: number } {
    return { start: 0, bytes: this.#memory.bytes };
  }

  /** The end of what it may ever have. */
  get limit(): number {
    return this.#memory.limitPages * WASM_PAGE;
  }

  /** The module, once it is there. */
  get exports(): WasmExports | undefined {
    return this.#instance?.exports;
  }

  /** Why the module's memory last could not grow, if it ever could not. */
  get growFailure(): HmmError | undefined {
    return this.#memory.growFailure;
  }

  /** Compiles a binary so that it runs in the space. Throws EINVAL, EOPNOTSUPP, ENOMEM. */
  compile(source: WasmSource): WasmModule {
    this.#host.check("compile");
    const rewritten = rewriteModule(bytesOf(source));
    const module = new this.#engine.Module(rewritten.bytes);
    if (rewritten.memory !== undefined) this.#known.set(module, rewritten.memory);
    return module;
  }

  /**
   * Makes the module. It is the only one: its addresses are 0 and up, as a second one's would
   * be. Throws EBUSY for a second one.
   */
  instantiate(source: WasmSource | WasmModule, imports: WasmImports = {}): WasmInstance {
    this.#host.check("instantiate");
    const module =
      source instanceof this.#engine.Module ? source : this.compile(source as WasmSource);
    const use = this.#known.get(module);
    if (use === undefined) {
      throw invalid("adopt", "the module has no memory, or was compiled by somebody else");
    }
    if (this.#instance !== undefined) {
      const detail = "a module has been adopted here already; use a second machine";
      throw hmmError({ code: "EBUSY", call: "adopt", detail });
    }
    this.#open(use);
    const own = this.#importsFor(module, use, imports);
    const instance = new this.#engine.Instance(module, own);
    this.#instance = instance;
    this.#connect(instance, use);
    this.#instance = this.#faceOf(instance, use);
    return this.#instance;
  }

  /** For glue that lets others instantiate; needs the option `wasm`. */
  get instantiateWasm(): InstantiateWasm {
    this.#host.check("instantiateWasm");
    const { wasm } = this.#options;
    if (wasm === undefined) throw invalid("adopt", "instantiateWasm needs the option wasm");
    return (imports, receive) => {
      const module = this.compile(wasm);
      const instance = this.instantiate(module, imports);
      // Some glue takes the exports from here, other glue from what it was called with.
      return receive(instance, module) ?? instance.exports;
    };
  }

  /**
   * For glue that does it all by itself: what `load` loads of WebAssembly, until its promise is
   * settled, is adopted. The first memory of more than one page that it makes, and the module
   * that uses it. Throws EBUSY while another load runs, EINVAL when nothing was adopted.
   */
  async load<T>(load: () => T | Promise<T>): Promise<T> {
    this.#host.check("load");
    const loaded = await withHooks(
      {
        memory: (type) => this.#memoryFor(type),
        compile: (source) => this.compile(source),
        instantiate: (module, imports) => this.#instantiateLoaded(module, imports),
      },
      this.#scope,
      load,
    );
    if (this.#instance !== undefined) return loaded;
    const detail = "no module was instantiated before the promise was settled";
    throw invalid("load", detail);
  }

  #memoryFor(type: MemoryDescriptor): WasmMemory | undefined {
    const { initial = 0 } = type;
    // Glue makes tiny memories to see what the engine can do.
    if (this.#hasGivenMemory || initial <= 1) return undefined;
    this.#hasGivenMemory = true;
    this.#memory.open(initial, type.maximum ?? initial);
    return this.#memory.facade;
  }

  #instantiateLoaded(module: WasmModule, imports?: WasmImports): WasmInstance | undefined {
    if (this.#known.has(module)) return this.instantiate(module, imports);
    const { Module } = this.#engine;
    const all = [...Module.imports(module), ...Module.exports(module)];
    if (!all.some(({ kind }) => kind === "memory")) return undefined;
    throw invalid("load", "the module was compiled before: compile it within load");
  }

  #open(use: MemoryUse | undefined): void {
    if (use === undefined) throw invalid("adopt", "the module has no memory: nothing to adopt");
    const initial = Math.ceil((this.#options.initialBytes ?? 0) / WASM_PAGE);
    this.#memory.open(Math.max(initial, use.minPages), use.maxPages);
  }

  /** The imports as they are, but for the memory and for what asks JavaScript for more of it. */
  #importsFor(module: WasmModule, use: MemoryUse, imports: WasmImports): WasmImports {
    const given = imports[use.module]?.[use.name];
    const isOurs = given === this.#memory.facade || given === this.#host.memory;
    if (use.wasImported && given !== undefined && !isOurs) {
      const name = `${use.module}.${use.name}`;
      throw invalid("adopt", `the import ${name} is a memory, but not the one that stands in`);
    }
    const own: Record<string, Record<string, unknown>> = {};
    const replace = (from: string, name: string, value: unknown): void => {
      own[from] ??= Object.create(imports[from] ?? null) as Record<string, unknown>;
      Object.defineProperty(own[from], name, { value, enumerable: true });
    };
    replace(use.module, use.name, this.#host.memory);
    for (const { module: from, name, kind } of this.#engine.Module.imports(module)) {
      if (kind !== "function" || name !== RESIZE_HEAP) continue;
      replace(from, name, (bytes: number) => (this.#resizeHeap(bytes >>> 0) ? 1 : 0));
    }
    return Object.assign(Object.create(imports) as object, own) as WasmImports;
  }

  #resizeHeap(bytes: number): boolean {
    const generous = Math.min(Math.ceil(bytes / RESIZE_STEP) * RESIZE_STEP, this.limit);
    return this.#memory.resize(Math.max(bytes, generous));
  }

  /** What the rewritten code needs: its size, a function to grow, and then its start. */
  #connect(instance: WasmInstance, use: MemoryUse): void {
    const { exports } = instance;
    const { pagesExport, growExport, startExport } = use;
    if (pagesExport !== undefined) {
      const size = exports[pagesExport] as WasmGlobal;
      this.#memory.onSize((pages) => {
        size.value = pages;
      });
    }
    if (growExport !== undefined) {
      // A table takes functions of WebAssembly only: this one leads to JavaScript.
      const grow = (delta: number): number => this.#memory.grow(delta);
      const { Instance, Module } = this.#engine;
      const helper = new Instance(new Module(EXPORTED), { e: { f: grow } });
      (exports[growExport] as WasmTable).set(0, helper.exports.f);
    }
    if (startExport !== undefined) (exports[startExport] as () => void)();
  }

  /** The instance as its glue knows it: without our exports, and with its own memory. */
  #faceOf(instance: WasmInstance, use: MemoryUse): WasmInstance {
    const hidden = new Set([use.pagesExport, use.growExport, use.startExport]);
    const exports: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const [name, value] of Object.entries(instance.exports)) {
      if (hidden.has(name)) continue;
      exports[name] = use.exports.includes(name) ? this.#memory.facade : value;
    }
    const members = { exports: { value: Object.freeze(exports), enumerable: true } };
    return Object.create(this.#engine.Instance.prototype as object, members) as WasmInstance;
  }
}

/** The most that a module may grow to, in bytes. Throws EINVAL for bad options. */
export function limitOf(options: AdoptOptions): number {
  checkOptions("adopt", options, ["bytes", "initialBytes", "wasm"]);
  const { bytes = LIMIT_MAX, initialBytes = 0 } = options;
  const isLimit = Number.isInteger(bytes) && bytes % WASM_PAGE === 0;
  if (!isLimit || bytes < WASM_PAGE || bytes > LIMIT_MAX) {
    const rule = `a multiple of ${WASM_PAGE} up to ${LIMIT_MAX}`;
    throw invalid("adopt", `bytes must be ${rule}, got ${show(bytes)}`);
  }
  if (!Number.isInteger(initialBytes) || initialBytes < 0 || initialBytes > bytes) {
    const got = show(initialBytes);
    throw invalid("adopt", `initialBytes must be an integer in 0..${bytes}, got ${got}`);
  }
  return bytes;
}
