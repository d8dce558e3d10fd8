/**
 * Who pays for pages. A group has a charge (pages) and may have a limit; a device page is
 * charged like the RAM page that it replaces, so migration leaves every charge as it is.
 * Linux: memory cgroups, Documentation/mm/hmm.rst "Memory cgroup and rss accounting".
 */
import { assert, ENOMEM, type Result } from "../base/index.ts";

export class MemoryGroup {
  readonly name: string;
  readonly limitPages: number;
  #chargedPages = 0;

  constructor(name: string, limitPages = Number.POSITIVE_INFINITY) {
    this.name = name;
    this.limitPages = limitPages;
  }

  get chargedPages(): number {
    return this.#chargedPages;
  }

  /** 0, or -ENOMEM and nothing charged when the limit would be passed. */
  charge(pages: number): Result {
    if (this.#chargedPages + pages > this.limitPages) return -ENOMEM;
    this.#chargedPages += pages;
    return 0;
  }

  uncharge(pages: number): void {
    assert(pages <= this.#chargedPages, () => `group ${this.name} is uncharged below 0`);
    this.#chargedPages -= pages;
  }
}
