// This site's half of a redirection, from options as JSON: those of redirect(), and under `dns`
// those of rfc2136().
import { redirect, rfc2136 } from '../../lib/index.js'
import type { Redirect } from '../../lib/index.js'

export function networkOf (json: string): Redirect {
  const { dns, ...options } = JSON.parse(json)
  return redirect({ ...options, ...(dns !== undefined && { dns: rfc2136(dns) }) })
}
