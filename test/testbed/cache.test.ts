// Items of the cache are complete or not there.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'

import { cached, cacheFolder, keyed } from '../../testbed/support/cache.js'

const folder = mkdtempSync(join(tmpdir(), 'cache-'))
process.env.BLOCKFERRY_CACHE = folder
t.teardown(() => rmSync(folder, { recursive: true }))

t.test('an item is made once', async (t) => {
  let builds = 0
  const build = async (path: string) => writeFileSync(join(path, 'number'), String(++builds))
  const [one, other] = await Promise.all([cached('item', build), cached('item', build)])
  t.equal(one, other)
  t.equal(await cached('item', build), join(cacheFolder(), 'item'))
  t.equal(readFileSync(join(one, 'number'), 'utf8'), '1')
})

t.test('a build that fails leaves nothing, and can be repeated', async (t) => {
  const fail = async (path: string) => {
    writeFileSync(join(path, 'half'), '')
    throw new Error('no network')
  }
  await t.rejects(cached('broken', fail), /no network/)
  t.notOk(readdirSync(folder).some((name) => name !== 'item'))
  await t.resolves(cached('broken', async () => undefined))
})

t.test('of two builds at the same time the first one done counts', async (t) => {
  const path = await cached('raced', async (part) => {
    const quicker = join(folder, 'raced')
    writeFileSync(join(part, 'by'), 'the slower')
    mkdirSync(quicker)
    writeFileSync(join(quicker, 'by'), 'the quicker')
  })
  t.equal(readFileSync(join(path, 'by'), 'utf8'), 'the quicker')
})

t.test('a build is nobody\'s leftover, whatever date its folder has', async (t) => {
  const path = await cached('dated', async (part) => {
    writeFileSync(join(part, 'half'), '')
    utimesSync(part, 0, 0) // as tar does
    await cached('other', async () => undefined)
    writeFileSync(join(part, 'whole'), '')
  })
  t.same(readdirSync(path).toSorted(), ['half', 'whole'])
})

t.test('what a killed build left is removed', async (t) => {
  const left = mkdtempSync(join(folder, '.part-'))
  const longAgo = Date.now() / 1000 - 100_000
  utimesSync(left, longAgo, longAgo)
  await cached('another', async () => undefined)
  t.notOk(existsSync(left))
})

t.test('names follow the inputs', async (t) => {
  t.equal(keyed('name', 'a', 'b'), keyed('name', 'a', 'b'))
  t.not(keyed('name', 'a', 'b'), keyed('name', 'ab', ''))
})
