/** The port of an engine that lives on this thread: calls are tasks, and nobody can block. */
import type { LaunchProgress } from "../../driver/index.ts";
import type { Answer, Ask, CallName, CallOptions, EnginePort } from "./calls.ts";
import type { Engine } from "./engine.ts";
import { type EventLoopHost, Tasks } from "./tasks.ts";

const NEVER_ABORTED = { isAborted: () => false };

export class LocalPort implements EnginePort {
  readonly canBlock = false;
  readonly #engine: Engine;
  readonly #host: EventLoopHost;
  readonly #tasks: Tasks;

  constructor(engine: Engine, host: EventLoopHost) {
    this.#engine = engine;
    this.#host = host;
    this.#tasks = new Tasks(engine.scheduler);
  }

  get launches(): number {
    return this.#engine.launches[0]!;
  }

  check(call: string): void {
    this.#tasks.check(call);
  }

  call<Name extends CallName>(
    name: Name,
    ask: Ask<Name>,
    options: CallOptions = {},
  ): Promise<Answer<Name>> {
    const { onProgress, signal } = options;
    const context = {
      isAborted: (): boolean => signal?.aborted === true,
      // Not from within the task: whoever is told may call back.
      ...(onProgress && {
        progress: (progress: LaunchProgress) => queueMicrotask(() => onProgress(progress)),
      }),
    };
    return this.#tasks.run(name, this.#engine.serve(name, ask, context));
  }

  callNow<Name extends CallName>(name: Name, ask: Ask<Name>): Answer<Name> | undefined {
    return this.#tasks.runNow(name, this.#engine.serve(name, ask, NEVER_ABORTED));
  }

  async end(): Promise<void> {
    this.#tasks.close();
    this.#host.stop();
    this.#engine.destroy();
  }
}
