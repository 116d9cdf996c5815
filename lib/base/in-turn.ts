/** Does all of them, one after the other, whatever becomes of each: for letting go of things. */
export async function inTurn (...steps: Array<() => Promise<void> | void>): Promise<void> {
  for (const step of steps) {
    try {
      await step()
    } catch {
      // The others are to be let go of all the same.
    }
  }
}
