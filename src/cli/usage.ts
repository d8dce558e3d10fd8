/** Words of the command line that make no sense, refused before anything is done. */

export class UsageError extends Error {
  override readonly name = "UsageError";
}

type Definitions = Readonly<Record<string, { readonly type?: string | undefined }>>;

/** citty lets unknown options pass; a typo should not. */
export function refuseUnknown(
  args: Readonly<Record<string, unknown>>,
  definitions: Definitions,
): void {
  const known = Object.keys(definitions);
  const spelled = new Set(known.flatMap((name) => [name, camel(name)]));
  for (const name of Object.keys(args)) {
    if (name === "_" || spelled.has(name)) continue;
    const options = known
      .filter((each) => definitions[each]!.type !== "positional")
      .map((each) => `--${each}`)
      .join(", ");
    throw new UsageError(`unknown option --${name} (known: ${options})`);
  }
  const words = args._ as readonly string[];
  const positionals = known.filter((each) => definitions[each]!.type === "positional").length;
  if (words.length > positionals) {
    throw new UsageError(`unexpected argument "${words[positionals]}"`);
  }
}

const camel = (name: string): string =>
  name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** One of `choices`, or a usage error that names them. */
export function choice<const Choice extends string>(
  option: string,
  value: string,
  choices: readonly Choice[],
): Choice {
  const found = choices.find((each) => each === value);
  if (found !== undefined) return found;
  throw new UsageError(`--${option} must be ${choices.join(", ")}, got "${value}"`);
}

/** An integer within limits, or a usage error that names them. */
export function integer(
  option: string,
  value: string,
  limits: { readonly min: number; readonly max: number },
): number {
  const number = Number(value);
  const isSaid = value.trim() !== "" && Number.isInteger(number);
  if (isSaid && number >= limits.min && number <= limits.max) return number;
  const { min, max } = limits;
  throw new UsageError(`--${option} must be an integer in ${min}..${max}, got "${value}"`);
}
