/** Bugs of the catalogue that no schedule and no path can show, so they have no exhibit. */
export interface DocumentedBug {
  readonly id: string;
  /** What goes wrong, one line. */
  readonly title: string;
  /** Where it was. */
  readonly story: string;
  /** Why there is nothing to run. */
  readonly why: string;
}

export const DOCUMENTATION_ONLY: readonly DocumentedBug[] = [
  {
    id: "B-84",
    title: "prototypes, bodies and documentation name different functions",
    story:
      "In the collision-retry RFC (2019), where the prototype of the function that ends a read " +
      "section also lacks the argument that holds the section's state.",
    why: "It does not compile, so it never runs. One name for each function is the whole fix.",
  },
];
