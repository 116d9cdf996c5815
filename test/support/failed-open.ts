import type { BlockferryError, TapOptions } from '../../lib/index.js'
import { openTap } from '../../lib/index.js'

/** The error of an openTap() that must fail. */
export async function failedOpen (options: TapOptions): Promise<BlockferryError> {
  return await openTap(options).then(async (tap) => {
    await tap.close()
    throw new Error('it was opened')
  }, (error: BlockferryError) => error)
}
