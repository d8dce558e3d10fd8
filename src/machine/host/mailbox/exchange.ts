/** The caller's half of one call, in steps: who waits between them, and how, is not known here. */
import { assert, unreachable } from "../../../base/index.ts";
import type { HmmError } from "../../error.ts";
import { decode, unpackError } from "./codec.ts";
import { Kind, type MailboxMemory, type SlotState, SlotWord, State } from "./memory.ts";
import { IncomingParts, OutgoingParts } from "./parts.ts";

/** A request that waits for a slot. */
export interface Letter {
  /** What errors call it. */
  readonly call: string;
  readonly kind: typeof Kind.call | typeof Kind.post;
  readonly bytes: Uint8Array;
}

export class Exchange {
  readonly #memory: MailboxMemory;
  readonly #slot: number;
  readonly #letter: Letter;
  readonly #request: OutgoingParts;
  readonly #answer = new IncomingParts();
  #received: Uint8Array | undefined;
  #refusal: HmmError | undefined;
  #progressSeen: number;

  /** `slot` belongs to this thread and is idle. */
  constructor(memory: MailboxMemory, slot: number, letter: Letter) {
    this.#memory = memory;
    this.#slot = slot;
    this.#letter = letter;
    this.#request = new OutgoingParts(letter.bytes);
    this.#progressSeen = memory.load(slot, SlotWord.progress);
  }

  /**
   * Does what there is to do; true when it is over: there is an answer, or there will be none.
   *
   * "Closed" is read before the state, because the server takes nothing after it has closed:
   * ```
   *   caller                       server
   *   state? request               state = serving
   *                                closed = 1
   *   closed? yes: give up         ✗ it is being served
   * ```
   * Read in the right order, a request that is still seen after "closed" was never taken.
   */
  step(): boolean {
    const memory = this.#memory;
    const { isDead, isClosed } = memory;
    const state = memory.load(this.#slot, SlotWord.state) as SlotState;
    switch (state) {
      case State.reply:
        this.#received = this.#answer.take(memory, this.#slot);
        return true;
      case State.replyPart:
        if (isDead) return this.#refuse();
        this.#answer.take(memory, this.#slot);
        memory.store(this.#slot, SlotWord.state, State.wantReply);
        memory.ask(this.#slot);
        return false;
      case State.serving:
      case State.wantReply:
        return isDead && this.#refuse();
      case State.idle:
      case State.takenPart:
        if (isDead || isClosed) return this.#refuse();
        this.#send(state === State.idle);
        return false;
      case State.requestPart:
      case State.request:
        return (isDead || isClosed) && this.#refuse();
      default:
        return unreachable(`a slot in state ${state as number}`);
    }
  }

  #send(isFirst: boolean): void {
    const memory = this.#memory;
    const slot = this.#slot;
    if (isFirst) {
      memory.store(slot, SlotWord.kind, this.#letter.kind);
      memory.store(slot, SlotWord.ticket, memory.nextTicket());
    }
    const isLast = this.#request.put(memory, slot);
    memory.store(slot, SlotWord.state, isLast ? State.request : State.requestPart);
    memory.ask(slot);
  }

  #refuse(): true {
    this.#refusal = this.#memory.refusal(this.#letter.call);
    return true;
  }

  /** What the server reported since the last look: the newest only, and never half of it. */
  takeProgress(): Float64Array | undefined {
    const before = this.#memory.load(this.#slot, SlotWord.progress);
    if (before === this.#progressSeen || before % 2 !== 0) return undefined;
    const values = this.#memory.progressNumbers(this.#slot).slice();
    if (this.#memory.load(this.#slot, SlotWord.progress) !== before) return undefined;
    this.#progressSeen = before;
    return values;
  }

  /** Gives the slot back after the last step; a function that gives or throws the answer. */
  finish(): () => unknown {
    const refusal = this.#refusal;
    const received = this.#received;
    const isError = this.#memory.load(this.#slot, SlotWord.kind) === Kind.error;
    assert(refusal !== undefined || received !== undefined, "only what is over is finished");
    this.#memory.free(this.#slot);
    return () => {
      if (refusal !== undefined) throw refusal;
      const value = decode(received!);
      if (isError) throw unpackError(value);
      return value;
    };
  }
}
