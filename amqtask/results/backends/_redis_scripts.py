"""What Redis does in one step: Lua scripts. Owns the rules that must hold whoever else writes at the same moment.

Keys, types and values are those of Celery 5.7, so workers of both kinds can count in one chord.
"""

from __future__ import annotations

STORE = """
local old = redis.call('GET', KEYS[1])
if old then
  local state = string.match(old, '^%s*{%s*"status"%s*:%s*"([%w_-]+)"')
  if not state then
    local ok, meta = pcall(cjson.decode, old)
    if not ok then ok, meta = pcall(cmsgpack.unpack, old) end
    if ok and type(meta) == 'table' then state = meta.status
    elseif ARGV[3] ~= redis.sha1hex(old) then return redis.status_reply(redis.sha1hex(old)) end
  end
  if state == 'SUCCESS' then return 0 end
end
local seconds = tonumber(ARGV[2])
if seconds > 0 then redis.call('SETEX', KEYS[1], seconds, ARGV[1]) else redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""
"""Store a state that is no SUCCESS, unless one is there.

KEYS: the document's. ARGV: document, seconds to live (0: for ever), SHA-1 of a document that the caller has read and
found to be no success. Returns 1, 0 when a success is there, or the SHA-1 of a document that the script can't read.
"""

BEGIN = """
if redis.call('GET', KEYS[2]) == 'done' then redis.call('DEL', KEYS[2]) end
local seconds = tonumber(ARGV[2])
if seconds > 0 then redis.call('SET', KEYS[1], ARGV[1], 'EX', seconds) else redis.call('SET', KEYS[1], ARGV[1]) end
"""
"""KEYS: size, claim. ARGV: size, seconds to live. A claim that is held stays: the chord was begun twice."""

COMPLETE = """
local jkey, tkey, skey, dkey, gkey, ckey = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local tid, value, ordered, score = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local seconds, group_seconds, lease, token = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local holder = redis.call('GET', ckey)
if holder == 'done' then return {-1} end
local kind = redis.call('TYPE', jkey).ok
if kind == 'list' then ordered = '0' elseif kind == 'zset' then ordered = '1' end
local member = tid .. ':' .. score
if redis.call('SISMEMBER', dkey, member) == 0 then
  if ordered == '1' then redis.call('ZADD', jkey, score, value) else redis.call('RPUSH', jkey, value) end
  redis.call('SADD', dkey, member)
end
if seconds > 0 then
  for _, key in ipairs({jkey, tkey, skey, dkey}) do redis.call('EXPIRE', key, seconds) end
  if group_seconds > 0 then redis.call('EXPIRE', gkey, group_seconds) end
end
local count
if ordered == '1' then count = redis.call('ZCARD', jkey) else count = redis.call('LLEN', jkey) end
local size = redis.call('GET', skey)
if not size or count < tonumber(size) + tonumber(redis.call('GET', tkey) or 0) then return {0} end
if holder and holder ~= token then return {2} end
redis.call('SET', ckey, token, 'EX', lease)
local results
if ordered == '1' then results = redis.call('ZRANGE', jkey, 0, -1) else results = redis.call('LRANGE', jkey, 0, -1) end
return {1, results}
"""
"""Count a member once, and claim the chord when it is complete.

KEYS: results, additions, size, members counted, saved group, claim. ARGV: task id, result, 1 for the header's order,
index in it, seconds to live of these and of the saved group, seconds of the claim, its token. Returns -1 (over), 0
(members are missing), 2 (another holds the claim), or 1 and the results. A claim may be taken again by its own token.
"""

LOOK = """
local jkey, tkey, skey, ckey = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local holder, size = redis.call('GET', ckey), redis.call('GET', skey)
if holder == 'done' or not size then return {-1} end
local kind, count = redis.call('TYPE', jkey).ok, 0
if kind == 'zset' then count = redis.call('ZCARD', jkey) elseif kind == 'list' then count = redis.call('LLEN', jkey) end
local missing = tonumber(size) + tonumber(redis.call('GET', tkey) or 0) - count
if missing > 0 and ARGV[1] == '0' then return {0} end
if holder and holder ~= ARGV[3] then return {2} end
redis.call('SET', ckey, ARGV[3], 'EX', tonumber(ARGV[2]))
if missing > 0 then return {3, missing} end
if kind == 'zset' then return {1, redis.call('ZRANGE', jkey, 0, -1)} end
return {1, redis.call('LRANGE', jkey, 0, -1)}
"""
"""Claim a chord that is complete, or whose time is up.

KEYS: results, additions, size, claim. ARGV: 1 when its time is up, seconds of the claim, its token. Returns -1 (over),
0 (members are missing), 2 (another holds the claim), 1 and the results, or 3 and how many members are missing.
"""

FINISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', unpack(KEYS, 2))
redis.call('SET', KEYS[1], 'done', 'EX', tonumber(ARGV[2]))
return 1
"""
"""KEYS: claim and what is removed. ARGV: token, seconds for which late duplicates are recognised."""

GROW = """
if redis.call('GET', KEYS[3]) == 'done' or redis.call('SADD', KEYS[2], ARGV[3]) == 0 then return end
redis.call('INCRBY', KEYS[1], ARGV[1])
local seconds = tonumber(ARGV[2])
if seconds > 0 then for at = 1, 2 do redis.call('EXPIRE', KEYS[at], seconds) end end
"""
"""KEYS: additions, what they were counted for, claim. ARGV: how many, seconds to live, what they are counted for: a
member that adds others may run again, or say so again. Nothing is kept of a chord that is over."""
