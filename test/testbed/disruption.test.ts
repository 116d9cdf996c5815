// The figure that every client answers, from made-up samples.

import t from 'tap'

import { disruptionMs, longestGapMs } from '../../testbed/clients/disruption.js'

const sample = (endMs: number, ok = true) => ({ startMs: endMs - 5, endMs, ok })

t.equal(longestGapMs([]), 0)
t.equal(longestGapMs([sample(100)]), 0)
t.equal(longestGapMs([sample(100), sample(120), sample(170)]), 50)
t.equal(longestGapMs([sample(170), sample(100), sample(120)]), 50, 'in any order')
t.equal(longestGapMs([sample(100), sample(120, false), sample(170)]), 70, 'a failure ends no gap')
t.equal(disruptionMs([sample(100), sample(120), sample(170)], 20), 30)
t.equal(disruptionMs([sample(100), sample(110)], 20), 0)
