/**
 * The WebAssembly JavaScript API, as far as these tests use it: it is in no library of Node's
 * types. Source: WebAssembly JavaScript Interface specification.
 */
// biome-ignore lint/style/noNamespace: the API is a namespace
declare namespace WebAssembly {
  class Module {
    constructor(source: Uint8Array);
    static exports(module: Module): { readonly name: string; readonly kind: string }[];
    static imports(module: Module): { readonly name: string; readonly kind: string }[];
    static customSections(module: Module, name: string): ArrayBuffer[];
  }
  class Instance {
    constructor(module: Module, imports?: object);
    readonly exports: Record<string, unknown>;
  }
  class Memory {
    constructor(type: {
      readonly initial: number;
      readonly maximum?: number;
      readonly shared?: boolean;
    });
    readonly buffer: ArrayBufferLike;
  }
  class Table {
    constructor(type: { readonly element: string; readonly initial: number });
    readonly length: number;
    get(index: number): unknown;
    set(index: number, value: unknown): void;
  }
  class Global {
    value: number;
  }
  class RuntimeError extends Error {}
  class CompileError extends Error {}
  interface Instantiated {
    readonly module: Module;
    readonly instance: Instance;
  }
  function validate(source: Uint8Array): boolean;
  function compile(source: Uint8Array): Promise<Module>;
  function compileStreaming(source: Response | Promise<Response>): Promise<Module>;
  function instantiate(source: Uint8Array, imports?: object): Promise<Instantiated>;
  function instantiate(module: Module, imports?: object): Promise<Instance>;
  function instantiateStreaming(source: Response | Promise<Response>): Promise<Instantiated>;
}
