/** What is still to be done when a thread's program ends: one listener, however many there are. */
const calls = new Set<() => void>();

/** Calls `call` when this thread exits (not when it is terminated); gives how to forget it. */
export function atExit(call: () => void): () => void {
  if (calls.size === 0) process.on("exit", runAll);
  calls.add(call);
  return () => {
    calls.delete(call);
    if (calls.size === 0) process.off("exit", runAll);
  };
}

function runAll(): void {
  for (const call of calls) call();
}
