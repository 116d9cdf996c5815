// The cases: an IP version over a link to the new site, with a guest that fits.

import type { MovingSiteOptions } from '../../testbed/sites/moving-site.js'

export interface SitesCase {
  readonly name: string
  readonly options: MovingSiteOptions
  /** What the move may take of the machine's time, like '300ms'. */
  readonly downtime: string
}

const mebibyte = 2 ** 20
const diskBytes = 256 * mebibyte
const guest = { diskBytes, contentBytes: 16 * mebibyte, memoryMiB: 128, quiet: '5s' }
const small = { ...guest, contentBytes: 8 * mebibyte, memoryMiB: 96 }

const links = {
  metro: { link: { rateBitsPerSecond: 50e6, delayMs: 10 }, downtime: '300ms' },
  wan: { link: { rateBitsPerSecond: 5e6, delayMs: 50 }, downtime: '800ms' }
}

/** `wan` takes minutes for each; it is left out when in haste. */
export function allCases (isQuick: boolean): SitesCase[] {
  const names = isQuick ? (['metro'] as const) : (['metro', 'wan'] as const)
  return names.flatMap((name) =>
    ([4, 6] as const).map((family) => {
      const { link, downtime } = links[name]
      const size = isQuick || name === 'wan' ? small : guest
      return { name: `${name}-ipv${family}`, options: { ...size, family, link }, downtime }
    })
  )
}

/** A line about a link and its guest. */
export function describe ({ name, options, downtime }: SitesCase): string {
  const { link, diskBytes, contentBytes, memoryMiB } = options
  const { rateBitsPerSecond = 0, delayMs = 0 } = link
  const content = `${contentBytes / mebibyte} MiB of content`
  return (
    `${name}: ${rateBitsPerSecond / 1e6} Mbit/s, ${delayMs} ms each way to site B; disk ` +
    `${diskBytes / mebibyte} MiB with ${content}, memory ${memoryMiB} MiB; downtime ${downtime}`
  )
}
