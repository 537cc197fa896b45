-- What is asked of Redis and changed in it: ARGV[1] names a step; names and values of what it is
-- given follow. It does all or nothing; what changes something answers 1 if it did.
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

local function json_list(texts)
    return #texts > 0 and cjson.encode(texts) or '[]'
end

local steps = {}

-- Reading is possible in a replica, and deleting in a full memory: only writing shows the truth.
function steps.ping()
    redis.call('SET', PREFIX .. 'ping', '')
    redis.call('DEL', PREFIX .. 'ping')
end

function steps.session(given)
    local s, flat = load(given.id)
    return s and {flat} or {}
end

function steps.sessions(given)
    local found = {}
    local ids = redis.call('ZREVRANGE', key('owner', given.owner), 0, given.limit - 1)
    for number, id in ipairs(ids) do
        found[number] = redis.call('HGETALL', key('session', id))
    end
    return found
end

function steps.count_open(given)
    return {redis.call('SCARD', key('open', given.owner))}
end

local function set_fields(id, fields)
    for name, value in pairs(cjson.decode(fields)) do
        redis.call('HSET', key('session', id), name, value)
    end
end

function steps.open_session(given)
    local id, watch = given.id, given.watch
    if load(id) or (watch and not load(watch)) then
        return 0
    end
    if watch then
        redis.call('SADD', key('nights', watch), id)
    end
    set_fields(id, given.fields)
    local s = load(id)
    redis.call('ZADD', key('owner', s.owner), s.created, id)
    index(id)
    return 1
end

local function delete_session(id, heard_before)
    local s = load(id)
    if not s or (heard_before and tonumber(s.heard) >= tonumber(heard_before)) then
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
        delete_session(night)
    end
    if s.watch and s.watch ~= 'null' then
        redis.call('SREM', key('nights', cjson.decode(s.watch)), id)
    end
    for _, kind in ipairs({
        'session', 'messages', 'came', 'waiting', 'snapshot', 'epochs', 'samples', 'result',
        'links', 'nights',
    }) do
        redis.call('UNLINK', key(kind, id))
    end
    return 1
end

function steps.delete_session(given)
    return delete_session(given.id, given.heard_before)
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

-- A message without samples has no oldest and newest time.
function steps.add_message(given)
    local id = given.id
    local s, flat = load(id)
    if not s then
        return {'missing', flat}
    end
    local known = redis.call('HGET', key('messages', id), given.message)
    if known then
        return {known == given.digest and 'repeated' or 'conflict', flat}
    elseif s.closed == 'true' and (s.reopens ~= 'true' or not given.newest) then
        return {'closed', flat}
    elseif s.closed == 'true' then
        reopen(id)
    end
    redis.call('HSET', key('messages', id), given.message, given.digest)
    redis.call('ZADD', key('came', id), given.now, given.message)
    redis.call('RPUSH', key('waiting', id), given.body)
    redis.call('HSET', key('session', id), 'heard', given.now)
    if given.newest then
        if s.newest == 'null' or tonumber(s.newest) < tonumber(given.newest) then
            redis.call('HSET', key('session', id), 'newest', given.newest)
        end
        if s.due == 'null' then
            local due = as_json(tonumber(given.oldest) + 30 + tonumber(s.lateness))
            redis.call('HSET', key('session', id), 'due', due)
        end
    end
    if given.warnings ~= '{}' then
        add_warnings(id, s, given.warnings)
    end
    index(id)
    return {'stored', redis.call('HGETALL', key('session', id))}
end

-- Messages are numbered from 0. Those that wait are the last ones, so the first of them has the
-- number of those that do not.
local function first_waiting(id)
    return redis.call('HLEN', key('messages', id)) - redis.call('LLEN', key('waiting', id))
end

function steps.backlog(given)
    local id = given.id
    local _, flat = load(id)
    local snapshot = redis.call('GET', key('snapshot', id))
    local waiting = redis.call('LRANGE', key('waiting', id), 0, -1)
    return {flat, snapshot, first_waiting(id), waiting}
end

-- Drop ids of messages that came before a time; those that wait are the last, and stay.
local function forget(id, before)
    local list = key('came', id)
    local n_used = redis.call('ZCARD', list) - redis.call('LLEN', key('waiting', id))
    local old = redis.call(
        'ZRANGEBYSCORE', list, '-inf', '(' .. before, 'LIMIT', 0, math.max(n_used, 0)
    )
    for _, message in ipairs(old) do
        redis.call('HDEL', key('messages', id), message)
        redis.call('ZREM', list, message)
    end
end

local function put(kind, id, value)
    if value then
        redis.call('SET', key(kind, id), value)
    else
        redis.call('DEL', key(kind, id))
    end
end

function steps.commit(given)
    local id = given.id
    local s = load(id)
    local over = s and s.closed == 'true' and s.reopens ~= 'true'
    if not s or over or s.version ~= given.expected then
        return 0
    end
    local fields = cjson.decode(given.fields)
    local first = tonumber(s.first or 0)  -- before version 3 all are kept
    local n_used = math.max(tonumber(given.used) + 1 - first_waiting(id), 0)
    if fields.closed == 'true' and n_used < redis.call('LLEN', key('waiting', id)) then
        return 0
    end
    set_fields(id, given.fields)
    if n_used > 0 then
        redis.call('LTRIM', key('waiting', id), n_used, -1)
    end
    if given.forgotten then
        forget(id, given.forgotten)
    end
    put('snapshot', id, given.snapshot)
    put('result', id, given.result)
    redis.call('LTRIM', key('samples', id), given.dropped, -1)
    if given.samples then
        redis.call('RPUSH', key('samples', id), given.samples)
    end
    for _, epoch in ipairs(cjson.decode(given.epochs)) do
        redis.call('RPUSH', key('epochs', id), epoch)
    end
    redis.call('LTRIM', key('epochs', id), tonumber(fields.first) - first, -1)
    index(id)
    return 1
end

function steps.due(given)
    return {json_list(redis.call('ZRANGE', PREFIX .. 'due', 0, given.limit - 1))}
end

local function heard(kind, given, limit)
    local list, before = PREFIX .. 'heard-' .. kind, '(' .. given.since
    return redis.call('ZRANGEBYSCORE', list, '-inf', before, 'LIMIT', 0, limit)
end

function steps.silent(given)
    return {json_list(heard('open', given, given.limit))}
end

function steps.outdated(given)
    local found = heard('closed', given, given.limit)
    for _, id in ipairs(heard('open', given, given.limit - #found)) do
        table.insert(found, id)
    end
    return {json_list(found)}
end

function steps.epochs(given)
    local first = tonumber(redis.call('HGET', key('session', given.id), 'first') or 0)
    local after = math.max(given.after - first, 0)
    local found = redis.call('LRANGE', key('epochs', given.id), after, -1)
    return {'[' .. table.concat(found, ',') .. ']'}
end

function steps.samples(given)
    return redis.call('LRANGE', key('samples', given.id), 0, -1)
end

function steps.result(given)
    return {redis.call('GET', key('result', given.id))}
end

function steps.versions(given)
    local found = {}
    for _, id in ipairs(cjson.decode(given.ids)) do
        found[id] = tonumber(redis.call('HGET', PREFIX .. 'versions', id) or nil)
    end
    return {cjson.encode(found)}
end

function steps.grant(given)
    local found = redis.call('HGET', PREFIX .. 'grants', given.digest)
    return found and {found} or {}
end

local function list_of(session)
    return session and key('links', session) or PREFIX .. 'tokens'
end

function steps.grants(given)
    local found = {}
    for _, digest in ipairs(redis.call('SMEMBERS', list_of(given.session))) do
        table.insert(found, redis.call('HGET', PREFIX .. 'grants', digest))
    end
    return found
end

function steps.guarded()
    return redis.call('EXISTS', PREFIX .. 'guarded') == 1 and {1} or {}
end

function steps.add_grant(given)
    local id, digest, session = given.id, given.digest, given.session
    local known = redis.call('HEXISTS', PREFIX .. 'grants', digest) == 1
    local taken = known or redis.call('HEXISTS', PREFIX .. 'digests', id) == 1
    if taken or (session and not load(session)) then
        return 0
    end
    redis.call('HSET', PREFIX .. 'grants', digest, given.grant)
    redis.call('HSET', PREFIX .. 'digests', id, digest)
    redis.call('SADD', list_of(session), digest)
    if not session then
        redis.call('SET', PREFIX .. 'guarded', '1')
    end
    return 1
end

local function is_token(grant)
    return grant.session == cjson.null
end

local function remove(digest, grant)
    redis.call('SREM', list_of(not is_token(grant) and grant.session), digest)
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

function steps.remove_grant(given)
    local digest = redis.call('HGET', PREFIX .. 'digests', given.id)
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

local given = {}
for i = 2, #ARGV, 2 do
    given[ARGV[i]] = ARGV[i + 1]
end
return steps[ARGV[1]](given)
