/** The port of an engine that lives on a kernel thread: questions go through the mailbox. */
import type { LaunchProgress } from "../../driver/index.ts";
import type { Answer, Ask, CallName, CallOptions, EnginePort } from "../engine/index.ts";
import { HmmError, hmmError } from "../error.ts";
import type { Heap } from "../heap/index.ts";
import type { MailboxClient } from "./mailbox/index.ts";
import { Word } from "./watchdog.ts";

/** What crosses to the kernel thread for its engine. */
export interface Question<Name extends CallName = CallName> {
  readonly name: Name;
  readonly ask: Ask<Name>;
}

/** Progress as the mailbox carries it: four numbers. */
export const progressValues = ({ done, count, rounds, faults }: LaunchProgress): number[] => [
  done,
  count,
  rounds,
  faults,
];

function progressOf(values: Float64Array): LaunchProgress {
  const [done = 0, count = 0, rounds = 0, faults = 0] = values;
  return { done, count, rounds, faults };
}

export class HostPort implements EnginePort {
  readonly canBlock = true;
  readonly #mailbox: MailboxClient;
  readonly #control: Int32Array;
  readonly #end: () => Promise<void>;
  #hasLeft = false;

  /** `control`: words of the machine's threads; `end`: what is left to do after the engine. */
  constructor(mailbox: MailboxClient, control: Int32Array, end: () => Promise<void>) {
    this.#mailbox = mailbox;
    this.#control = control;
    this.#end = end;
  }

  /** See `MailboxClient.closedWord`. */
  get closedWord(): Int32Array {
    return this.#mailbox.closedWord;
  }

  get launches(): number {
    return Atomics.load(this.#control, Word.launches);
  }

  check(call: string): void {
    const { closedBecause } = this.#mailbox;
    const detail = this.#hasLeft ? "this thread has left the machine" : closedBecause;
    if (detail !== undefined) throw hmmError({ code: "ENODEV", call, detail });
  }

  async call<Name extends CallName>(
    name: Name,
    ask: Ask<Name>,
    options: CallOptions = {},
  ): Promise<Answer<Name>> {
    this.check(name);
    const question: Question<Name> = { name, ask };
    const { onProgress, signal } = options;
    return this.#mailbox.call<Answer<Name>>(question, {
      ...(onProgress === undefined
        ? {}
        : { onProgress: (values: Float64Array) => onProgress(progressOf(values)) }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  callNow<Name extends CallName>(name: Name, ask: Ask<Name>): Answer<Name> {
    this.check(name);
    const question: Question<Name> = { name, ask };
    return this.#mailbox.callNow<Answer<Name>>(question);
  }

  end(): Promise<void> {
    return this.#end();
  }

  /** This thread uses `heap`: it takes over what threads before it left. */
  join(heap: Heap): void {
    const { remains, dead } = this.callNow("join", { id: heap.id });
    for (const each of remains) heap.adopt(each);
    for (const id of dead) heap.bury(id);
  }

  /**
   * This thread does not use `heap` any more: what is allocated goes to a thread that joins. When
   * the machine is closed there is nobody who wants it. No call of this thread is taken any more.
   */
  leave(heap: Heap): void {
    const { id } = heap;
    const remains = heap.detach();
    try {
      this.callNow("leave", { id, ...(remains !== undefined && { remains }) });
    } catch (error) {
      if (!(error instanceof HmmError) || error.code !== "ENODEV") throw error;
    } finally {
      this.#hasLeft = true;
    }
  }
}
