/** The port of an engine that lives on this thread: calls are tasks, and nobody can block. */
import type { LaunchProgress } from "../../driver/index.ts";
import { hmmError } from "../error.ts";
import type { Answer, Ask, CallName, CallOptions, EnginePort } from "./calls.ts";
import type { Engine } from "./engine.ts";
import { type EventLoopHost, Tasks } from "./tasks.ts";

/** Whoever calls is the engine's own thread. */
const OWN = { caller: 0n, isAborted: () => false };

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
    if (!this.#engine.life.isOver) return;
    throw hmmError({ code: "ENODEV", call, detail: "the machine is closed" });
  }

  async call<Name extends CallName>(
    name: Name,
    ask: Ask<Name>,
    options: CallOptions = {},
  ): Promise<Answer<Name>> {
    this.check(name);
    const { onProgress, signal } = options;
    const context = {
      ...OWN,
      isAborted: (): boolean => signal?.aborted === true,
      // Not from within the task: whoever is told may call back.
      ...(onProgress && {
        progress: (progress: LaunchProgress) => queueMicrotask(() => onProgress(progress)),
      }),
    };
    return this.#tasks.run(name, this.#engine.serve(name, ask, context));
  }

  callNow<Name extends CallName>(name: Name, ask: Ask<Name>): Answer<Name> | undefined {
    this.check(name);
    return this.#tasks.runNow(name, this.#engine.serve(name, ask, OWN));
  }

  async end(): Promise<void> {
    this.#host.stop();
    this.#engine.destroy();
  }
}
