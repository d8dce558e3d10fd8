/** The port of an engine that lives on this thread: calls are tasks, and nobody can block. */
import type { LaunchProgress } from "../../driver/index.ts";
import type { Answer, Ask, CallName, CallOptions, EnginePort } from "./calls.ts";
import type { Engine } from "./engine.ts";
import { type EventLoopHost, Tasks } from "./tasks.ts";

const NEVER_ABORTED = { isAborted: () => false };

interface Reported {
  readonly onProgress: (progress: LaunchProgress) => void;
  readonly isAborted: () => boolean;
}

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

  check(call: string): void {
    this.#tasks.check(call);
  }

  call<Name extends CallName>(
    name: Name,
    ask: Ask<Name>,
    options: CallOptions = {},
  ): Promise<Answer<Name>> {
    const { onProgress, signal } = options;
    const isAborted = (): boolean => signal?.aborted === true;
    if (onProgress !== undefined) return this.#report(name, ask, { onProgress, isAborted });
    return this.#tasks.run(name, this.#engine.serve(name, ask, { isAborted }));
  }

  /** If `onProgress` throws, the call is aborted, and ends with that. */
  async #report<Name extends CallName>(
    name: Name,
    ask: Ask<Name>,
    { onProgress, isAborted }: Reported,
  ): Promise<Answer<Name>> {
    const failures: unknown[] = [];
    const tell = (progress: LaunchProgress): void => {
      try {
        onProgress(progress);
      } catch (error) {
        failures.push(error);
      }
    };
    const body = this.#engine.serve(name, ask, {
      isAborted: () => isAborted() || failures.length > 0,
      // Not from within the task: whoever is told may call back.
      progress: (progress) => queueMicrotask(() => tell(progress)),
    });
    const answer = await this.#tasks.run(name, body);
    if (failures.length > 0) throw failures[0];
    return answer;
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
