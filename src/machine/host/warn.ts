/** For what nobody can be told by an error: it is not the caller's fault, or there is none. */
export function warn(text: string): void {
  process.emitWarning(`onespace: ${text}`, "HmmWarning");
}
