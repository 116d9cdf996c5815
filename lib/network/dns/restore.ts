// A name service from the state that an earlier process left.
import type { Dyndns2Options } from './dyndns2.js'
import { Dyndns2 } from './dyndns2.js'
import type { NameService, NameServiceState } from './name-service.js'
import type { Rfc2136Options } from './rfc2136.js'
import { Rfc2136 } from './rfc2136.js'

export function restoreNameService ({ kind, options, learned }: NameServiceState): NameService {
  return kind === 'rfc2136'
    ? new Rfc2136(options as Rfc2136Options, learned as never)
    : new Dyndns2(options as Dyndns2Options, learned as never)
}
