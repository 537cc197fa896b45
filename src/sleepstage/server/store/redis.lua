-- What the store changes in Redis: ARGV[1] names a function, which does all of it or nothing.
--
-- A session is a hash of its fields as JSON. Numbers are passed on as the text that Python wrote:
-- Lua's own would lose digits.

local PREFIX = 'sleepstage:'

local function key(kind, id)
    return PREFIX .. kind .. ':' .. id
end

local function load(id)
    local flat = redis.call('HGETALL', key('session', id))
    local session = {}
    for i = 1, #flat, 2 do
        session[flat[i]] = flat[i + 1]
    end
    return #flat > 0 and session or nil, flat
end

-- Put a session where versions, and those that are open, due, silent and outdated, are looked for.
local function index(id)
    local s = load(id)
    redis.call('HSET', PREFIX .. 'versions', id, s.version)
    if s.closed == 'true' then
        redis.call('SREM', key('open', s.owner), id)
        redis.call('ZREM', PREFIX .. 'heard-open', id)
        redis.call('ZADD', PREFIX .. 'heard-closed', s.heard, id)
    else
        redis.call('SADD', key('open', s.owner), id)
        redis.call('ZREM', PREFIX .. 'heard-closed', id)
        redis.call('ZADD', PREFIX .. 'heard-open', s.heard, id)
    end
    local known = s.closed == 'false' and s.due ~= 'null' and s.newest ~= 'null'
    if known and tonumber(s.newest) >= tonumber(s.due) then
        redis.call('ZADD', PREFIX .. 'due', s.due, id)
    else
        redis.call('ZREM', PREFIX .. 'due', id)
    end
end

local function as_json(number)
    local text = string.format('%.17g', number)
    return string.find(text, '[.e]') and text or text .. '.0'
end

local steps = {}

-- Reading is possible in a replica, and deleting in a full memory: only writing shows the truth.
function steps.ping()
    redis.call('SET', PREFIX .. 'ping', '')
    redis.call('DEL', PREFIX .. 'ping')
end

-- `watch` is empty for a session that takes samples itself.
function steps.open_session(id, watch, ...)
    if load(id) or (watch ~= '' and not load(watch)) then
        return 0
    end
    if watch ~= '' then
        redis.call('SADD', key('nights', watch), id)
    end
    redis.call('HSET', key('session', id), ...)
    local s = load(id)
    redis.call('ZADD', key('owner', s.owner), s.created, id)
    index(id)
    return 1
end

function steps.delete_session(id, heard_before)
    local s = load(id)
    if not s or (heard_before ~= 'null' and tonumber(s.heard) >= tonumber(heard_before)) then
        return 0
    end
    redis.pcall('INCR', PREFIX .. 'deleted')  -- in a full memory, what deletes must succeed still
    redis.call('SREM', key('open', s.owner), id)
    redis.call('ZREM', key('owner', s.owner), id)
    redis.call('HDEL', PREFIX .. 'versions', id)
    for _, list in ipairs({'heard-open', 'heard-closed', 'due'}) do
        redis.call('ZREM', PREFIX .. list, id)
    end
    for _, digest in ipairs(redis.call('SMEMBERS', key('links', id))) do
        local grant = cjson.decode(redis.call('HGET', PREFIX .. 'grants', digest))
        redis.call('HDEL', PREFIX .. 'grants', digest)
        redis.call('HDEL', PREFIX .. 'digests', grant.id)
    end
    for _, night in ipairs(redis.call('SMEMBERS', key('nights', id))) do
        steps.delete_session(night, 'null')
    end
    if s.watch and s.watch ~= 'null' then
        redis.call('SREM', key('nights', cjson.decode(s.watch)), id)
    end
    for _, kind in ipairs({
        'session', 'messages', 'waiting', 'snapshot', 'epochs', 'samples', 'result', 'links',
        'nights',
    }) do
        redis.call('UNLINK', key(kind, id))
    end
    return 1
end

local function reopen(id)
    redis.call('HSET', key('session', id), 'closed', 'false', 'reopens', 'false')
    redis.call('HINCRBY', key('session', id), 'version', 1)
    redis.call('DEL', key('result', id))
end

local function add_warnings(id, s, added)
    local warnings = cjson.decode(s.warnings)
    for kind, count in pairs(cjson.decode(added)) do
        warnings[kind] = (warnings[kind] or 0) + count
    end
    redis.call('HSET', key('session', id), 'warnings', cjson.encode(warnings))
end

-- A message without samples has 'null' as its oldest and newest time.
function steps.add_message(id, message, body, digest, oldest, newest, now, warnings)
    local s, flat = load(id)
    if not s then
        return {'missing', flat}
    end
    local known = redis.call('HGET', key('messages', id), message)
    if known then
        return {known == digest and 'repeated' or 'conflict', flat}
    elseif s.closed == 'true' and (s.reopens ~= 'true' or newest == 'null') then
        return {'closed', flat}
    elseif s.closed == 'true' then
        reopen(id)
    end
    redis.call('HSET', key('messages', id), message, digest)
    redis.call('RPUSH', key('waiting', id), body)
    redis.call('HSET', key('session', id), 'heard', now)
    if newest ~= 'null' then
        if s.newest == 'null' or tonumber(s.newest) < tonumber(newest) then
            redis.call('HSET', key('session', id), 'newest', newest)
        end
        if s.due == 'null' then
            local due = as_json(tonumber(oldest) + 30 + tonumber(s.lateness))
            redis.call('HSET', key('session', id), 'due', due)
        end
    end
    if warnings ~= '{}' then
        add_warnings(id, s, warnings)
    end
    index(id)
    return {'stored', redis.call('HGETALL', key('session', id))}
end

-- Messages are numbered from 0. Those that wait are the last ones, so the first of them has the
-- number of those that do not.
local function first_waiting(id)
    return redis.call('HLEN', key('messages', id)) - redis.call('LLEN', key('waiting', id))
end

function steps.backlog(id)
    local _, flat = load(id)
    local snapshot = redis.call('GET', key('snapshot', id))
    local waiting = redis.call('LRANGE', key('waiting', id), 0, -1)
    return {flat, snapshot, first_waiting(id), waiting}
end

function steps.epochs(id, after)
    local first = tonumber(redis.call('HGET', key('session', id), 'first') or 0)
    return redis.call('LRANGE', key('epochs', id), math.max(tonumber(after) - first, 0), -1)
end

local function put(kind, id, value)
    if value == '' then
        redis.call('DEL', key(kind, id))
    else
        redis.call('SET', key(kind, id), value)
    end
end

-- Fields are JSON as well here; empty text stands for no snapshot, samples or result.
function steps.commit(id, version, used, fields, snapshot, samples, result, dropped, ...)
    local s = load(id)
    local over = s and s.closed == 'true' and s.reopens ~= 'true'
    if not s or over or s.version ~= version then
        return 0
    end
    fields = cjson.decode(fields)
    local first = tonumber(s.first or 0)  -- before version 3 all are kept
    local n_used = math.max(tonumber(used) + 1 - first_waiting(id), 0)
    if fields.closed == 'true' and n_used < redis.call('LLEN', key('waiting', id)) then
        return 0
    end
    for name, value in pairs(fields) do
        redis.call('HSET', key('session', id), name, value)
    end
    if n_used > 0 then
        redis.call('LTRIM', key('waiting', id), n_used, -1)
    end
    put('snapshot', id, snapshot)
    put('result', id, result)
    redis.call('LTRIM', key('samples', id), dropped, -1)
    if samples ~= '' then
        redis.call('RPUSH', key('samples', id), samples)
    end
    for _, epoch in ipairs({...}) do
        redis.call('RPUSH', key('epochs', id), epoch)
    end
    redis.call('LTRIM', key('epochs', id), tonumber(fields.first) - first, -1)
    index(id)
    return 1
end

-- `session` is empty for a token.
function steps.add_grant(id, digest, session, grant)
    if session ~= '' and not load(session) then
        return 'missing'
    end
    local known = redis.call('HGET', PREFIX .. 'grants', digest)
    if known == grant then
        return 'added'  -- an answer was lost, and it is asked again
    elseif known or redis.call('HEXISTS', PREFIX .. 'digests', id) == 1 then
        return 'taken'
    end
    redis.call('HSET', PREFIX .. 'grants', digest, grant)
    redis.call('HSET', PREFIX .. 'digests', id, digest)
    redis.call('SADD', session == '' and PREFIX .. 'tokens' or key('links', session), digest)
    if session == '' then
        redis.call('SET', PREFIX .. 'guarded', '1')
    end
    return 'added'
end

local function is_token(grant)
    return grant.session == cjson.null
end

local function remove(digest, grant)
    redis.call(
        'SREM', is_token(grant) and PREFIX .. 'tokens' or key('links', grant.session), digest
    )
    redis.call('HDEL', PREFIX .. 'grants', digest)
    redis.call('HDEL', PREFIX .. 'digests', grant.id)
end

-- Links that were made with a token; with an owner's last one also those of which none is known.
local function remove_links_of(token)
    local flat, links, last = redis.call('HGETALL', PREFIX .. 'grants'), {}, true
    for i = 1, #flat, 2 do
        local grant = cjson.decode(flat[i + 1])
        if grant.owner == token.owner and is_token(grant) then
            last = false
        elseif grant.owner == token.owner then
            links[flat[i]] = grant
        end
    end
    for digest, link in pairs(links) do
        local unknown = link.token == nil or link.token == cjson.null
        if link.token == token.id or (unknown and last) then
            remove(digest, link)
        end
    end
end

function steps.remove_grant(id)
    local digest = redis.call('HGET', PREFIX .. 'digests', id)
    if not digest then
        return 0
    end
    local grant = cjson.decode(redis.call('HGET', PREFIX .. 'grants', digest))
    remove(digest, grant)
    if is_token(grant) then
        remove_links_of(grant)
    end
    return 1
end

local step = table.remove(ARGV, 1)
return steps[step](unpack(ARGV))
