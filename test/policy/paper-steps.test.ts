import t from 'tap'
import { paperSteps, planSteps } from '../../lib/policy/paper-steps.js'

t.test('delays double from step to step', (t) => {
  t.same(paperSteps({
    freeWrites: 100, writesPerStep: 50, firstDelayUs: 200, mostDelayUs: 1000, steps: 6
  }), [
    { afterWrites: 100, delayUs: 200 },
    { afterWrites: 150, delayUs: 400 },
    { afterWrites: 200, delayUs: 800 },
    { afterWrites: 250, delayUs: 1000 }
  ])
  t.same(paperSteps({
    freeWrites: 0, writesPerStep: 1, firstDelayUs: 500, mostDelayUs: 300, steps: 3
  }), [{ afterWrites: 0, delayUs: 300 }])
  t.end()
})

t.test('a plan for 4 MB/s in writes of 4 KB, in rounds of 2 s', (t) => {
  const plan = planSteps(4e6, 4000, 2000, Infinity)
  t.same(plan, {
    freeWrites: 500, writesPerStep: 500, firstDelayUs: 1000, mostDelayUs: 8000, steps: 4
  })
  t.equal(planSteps(4e6, 4000, 2000, 3).mostDelayUs, 3000, 'the write-latency budget')
  t.equal(planSteps(4e6, 4000, 0, 3).writesPerStep, 1)
  t.end()
})
