/**
 * Where tasks meet promises: a task sleeps until a promise has settled. The only such place of
 * this driver; the core below knows tasks only.
 */
import { Completion, type Scheduler, type Sleeps } from "../../sync/index.ts";

type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/** The value of `promise`; throws what it was rejected with. */
export function* awaitPromise<T>(
  scheduler: Scheduler,
  promise: Promise<T>,
  name: string,
): Sleeps<T> {
  const completion = new Completion<Outcome<T>>(scheduler, name);
  const settle = (outcome: Outcome<T>): void => {
    scheduler.endOutside();
    completion.complete(outcome);
  };
  // Counted until it settles, also when the task is killed before.
  scheduler.beginOutside();
  promise.then(
    (value) => settle({ value }),
    (error: unknown) => settle({ error }),
  );
  const outcome = yield* completion.wait();
  if ("error" in outcome) throw outcome.error;
  return outcome.value;
}
