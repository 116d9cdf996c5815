// `blockferry redirect` at the two sites of a setting.
import type { Test } from 'tap'

import { Command } from '../../testbed/guests/moving-guest.js'
import type { Setting } from '../../testbed/sites/setting.js'
import { kFresh, kHostA, kHostB, kMachine, kRouterA } from '../../testbed/sites/sites.js'

/** It ends with the test, if not before. */
export function redirectAt (
  t: Test, setting: Setting, place: 'a' | 'b', ...args: string[]
): Command {
  const one = new Command(setting.sites[place].name, [
    'redirect', '--state', setting.state(place), ...args
  ])
  t.teardown(() => one.kill())
  return one
}

/** What each site is told at least. */
export const kOldSite = [
  '--role', 'old', '--address', kMachine[4], '--device', 'lan', '--local', kHostA[4], '--remote', kHostB[4],
  '--quiet', '500ms'
]
export const kNewSite = [
  '--role', 'new', '--address', kMachine[4], '--device', 'lan', '--local', kHostB[4], '--remote', kHostA[4],
  '--new-address', kFresh[4], '--gateway', kRouterA[4]
]
