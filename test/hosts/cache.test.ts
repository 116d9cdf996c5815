// Items of the cache are complete or not there.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'

import { cached, cacheFolder, keyed } from './cache.js'

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

t.test('names follow the inputs', async (t) => {
  t.equal(keyed('name', 'a', 'b'), keyed('name', 'a', 'b'))
  t.not(keyed('name', 'a', 'b'), keyed('name', 'ab', ''))
})
