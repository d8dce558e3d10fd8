/** A kernel that is refused, in a file that runs as it is written. */

/** @param {import("../../src/machine/index.ts").Machine} machine */
export function makeRefused(machine) {
  const name = "plain";
  return machine.kernel(
    {},
    (i) => {
      // biome-ignore lint/suspicious/noDoubleEquals: it is what is refused
      if (i == 1) return;
    },
    { name },
  );
}
