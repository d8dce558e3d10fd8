/** What the examples of adopted modules share. */

/**
 * Runs code of an adopted module. Where the CPU has page faults of its own (`host`) that needs
 * nothing; on the portable backend the module's memory is held by a bracket meanwhile.
 */
export async function insideModule(machine, adoption, body) {
  if (machine.report.cpu.backend !== "scoped" || adoption.range.bytes === 0) return await body();
  const bracket = await machine.space.access(adoption.range, "write");
  try {
    return await body();
  } finally {
    bracket.close();
  }
}

export function printTable(rows) {
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) console.log(`${name.padEnd(width)}  ${value}`);
}
