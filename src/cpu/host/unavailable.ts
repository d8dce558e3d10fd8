/** Why a host has no page faults for us, and what would change that. */

/** Both are one sentence without a full stop: they stand in a line of `onespace doctor`. */
export interface Obstacle {
  readonly reason: string;
  readonly cure: string;
}

/** This machine, or this container, cannot give a window real page faults. */
export class HostUnavailable extends Error implements Obstacle {
  override readonly name = "HostUnavailable";
  readonly reason: string;
  readonly cure: string;

  constructor(reason: string, cure: string) {
    super(`${reason}; ${cure}`);
    this.reason = reason;
    this.cure = cure;
  }
}
