// The link between two hosts of Xen: a card of each dom0, in its bridge.

import { findCard } from '../../testbed/xen/link-card.js'
import type { XenHost } from '../../testbed/xen/xen-host.js'
import type { Case } from './cases.js'

/** Each way is as slow as asked for. */
export async function shape (host: XenHost, link: NonNullable<Case['link']>): Promise<void> {
  const netem = `netem delay ${link.oneWayMs}ms rate ${link.mbitPerSecond}mbit limit 100`
  await host.must(`${findCard}; modprobe sch_netem && tc qdisc add dev $card root ${netem}`)
}

/** What went over it until now, both ways, with headers. */
export async function wireBytes (host: XenHost): Promise<number> {
  const output = await host.must(`${findCard}; cat /sys/class/net/$card/statistics/[rt]x_bytes`)
  return output.trim().split('\n').reduce((sum, line) => sum + Number(line), 0)
}
