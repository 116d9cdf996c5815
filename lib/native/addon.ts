// The native addon, loaded.
import bindings from 'bindings'

import type { Native } from './types.js'

export const native: Native = bindings('blockferry')
