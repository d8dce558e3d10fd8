/**
 * What the step that runs now looks at and what it changes: what an explorer needs to know which
 * steps may trade places. Kept only while somebody explores; production has none.
 *
 * A place is a number: an object (named by the task that made it and how many that task had made
 * before, so that it has the same name in every schedule that orders conflicting steps alike) and
 * an index within it. Whatever tasks share is declared here, by locks and queues themselves, by
 * columns through `watch`, by everything else through `read` and `write`. What is not declared is
 * taken for private to one task: `test/schedule/commute.test.ts` looks for what was forgotten.
 */

/** Where something can be looked at or changed: object * 2^16 + index. */
export type Place = number;

/** Something worth telling a reader of the schedule, and where in the code it happened. */
export interface Note {
  readonly words: string;
  /** A stack as the engine prints it. */
  readonly stack: string;
}

export type Column = Int32Array | Int16Array | Uint32Array | Uint16Array | Uint8Array;

const INDEX_BITS = 16;
const OBJECTS_PER_TASK = 2 ** 14;
/**
 * The index that stands for a whole column. Who changes an element "reads" it and who looks at
 * much of the column "writes" it: so the two conflict, and two elements do not.
 */
const WHOLE = 2 ** INDEX_BITS - 1;
const UNWATCHED = Symbol("unwatched");

export class Footprint {
  readonly reads = new Set<Place>();
  readonly writes = new Set<Place>();
  readonly notes: Note[] = [];
  /** True: `notes` are collected, which costs a stack each. */
  tells = false;
  /** True while nobody's step runs: what is touched then is not declared. */
  isPaused = false;
  /** While a checker looks: where it looks, if somebody wants to know. */
  observes: Set<Place> | undefined = undefined;
  #task = 0;
  // task -> objects that it has made
  readonly #made = new Map<number, number>();

  /** A step of `task` begins. */
  begin(task: number): void {
    this.reads.clear();
    this.writes.clear();
    this.notes.length = 0;
    this.#task = task;
    this.writes.add(placeOfTask(task));
  }

  /** A name for an object that tasks share. */
  newObject(): number {
    const made = this.#made.get(this.#task) ?? 0;
    this.#made.set(this.#task, made + 1);
    return (this.#task * OBJECTS_PER_TASK + made + 1) * 2 ** INDEX_BITS;
  }

  read(object: number, index = 0): void {
    if (!this.isPaused) this.reads.add(object + index);
    else this.observes?.add(object + index);
  }

  write(object: number, index = 0): void {
    if (!this.isPaused) this.writes.add(object + index);
    else this.observes?.add(object + index);
  }

  /** Another task may run because of this step. */
  wakes(task: number): void {
    if (!this.isPaused) this.writes.add(placeOfTask(task));
  }

  /** This step changes something that checkers have looked at, so they see its place in time. */
  isObserved(observed: ReadonlySet<Place>): boolean {
    for (const place of this.writes) if (observed.has(place)) return true;
    for (const place of this.reads) {
      if (place % 2 ** INDEX_BITS === WHOLE && observed.has(place)) return true;
    }
    return false;
  }

  note(words: string): void {
    if (this.isPaused || !this.tells) return;
    this.notes.push({ words, stack: new Error().stack ?? "" });
  }

  /**
   * The same column, but every element that is read or written through it is declared. Slow: for
   * small worlds that are explored. Whole-column methods count as writing all of it.
   */
  watch<Kind extends Column>(column: Kind): Kind {
    const object = this.newObject();
    return new Proxy(column, {
      get: (target, key) => {
        if (key === UNWATCHED) {
          this.write(object, WHOLE);
          return target;
        }
        const index = typeof key === "symbol" ? Number.NaN : Number(key);
        if (Number.isInteger(index)) {
          this.read(object, index);
          return target[index];
        }
        const member: unknown = Reflect.get(target, key);
        if (typeof member !== "function") return member;
        if (!this.isPaused) for (let i = 0; i < target.length; i++) this.write(object, i);
        this.read(object, WHOLE);
        return member.bind(target);
      },
      set: (target, key, value: number) => {
        const index = Number(key);
        this.write(object, index);
        this.read(object, WHOLE);
        target[index] = value;
        return true;
      },
    });
  }
}

/**
 * One thing that tasks share, as an explorer sees it: whoever owns it says when it is looked at and
 * when it is changed. Costs the test of a field when nobody explores.
 */
export class Shared {
  readonly #footprint: Footprint | undefined;
  readonly #object: number;

  constructor(owner: { readonly footprint: Footprint | undefined }) {
    this.#footprint = owner.footprint;
    this.#object = owner.footprint?.newObject() ?? 0;
  }

  /** None when nobody explores: for hot paths, where `shared?.write()` costs least. */
  static of(owner: { readonly footprint: Footprint | undefined }): Shared | undefined {
    return owner.footprint === undefined ? undefined : new Shared(owner);
  }

  /** `index`: which part of it, 0 to 65,535. */
  read(index = 0): void {
    this.#footprint?.read(this.#object, index);
  }

  write(index = 0): void {
    this.#footprint?.write(this.#object, index);
  }
}

/** The place that a step of a task and a wake-up of it have in common. */
const placeOfTask = (task: number): Place => -task;

/** The column behind a watched one, for whoever looks at much of it; else the column itself. */
export function unwatched<Kind extends Column>(column: Kind): Kind {
  return (column as Kind & { readonly [UNWATCHED]?: Kind })[UNWATCHED] ?? column;
}
