// One bandwidth budget for several migrations over one link.
import { BlockferryError } from './errors.js'
import { native } from '../native/addon.js'
import { parseRate } from './units.js'

/**
 * What several migrations may send together, in equal shares, however many streams each has; one that
 * has nothing to send leaves its share to the others.
 */
export class SharedBandwidth {
  /** For the sender. */
  readonly native = new native.Bandwidth()

  /** `rate`: bytes/s, or '50Mbit/s'. INVALID for nonsense. */
  constructor (rate: number | string) {
    this.set(rate)
  }

  /** From now on, also for migrations that are under way. */
  set (rate: number | string): void {
    const bytesPerSecond = parseRate('rate', rate)
    if (bytesPerSecond <= 0) throw new BlockferryError('INVALID', 'rate: must be above 0')
    this.native.set(bytesPerSecond)
  }
}
