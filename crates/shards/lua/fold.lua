-- The batch. What nearly all batches consist of stands here, in one loop: a call
-- of a function costs as much as what it would do.

-- What is lost is noticed before anything is decided without it.
local function look_for_losses()
  for place = 1, (#KEYS - 3) / 9 do
    local shard = read_shard(place)
    if shard.lost then
      local item, number = string.match(KEYS[shard.k + 1], '^[^}]*}:(.*):%x+:(%d+):h$')
      local parts = {}
      local names = {'records', 'returns', 'adjustments', 'buyers', 'expiry queue',
        'sorted queue', 'ended queue', 'unarrived queue'}
      for part = 1, 8 do
        if shard.lost[part] ~= 0 then
          parts[#parts + 1] = string.format('%s (has %.0f, but knows of %.0f)', names[part],
            shard.size[part], shard.size[part] + shard.lost[part])
        end
      end
      return string.format('shard %s of item %s is not whole: %s', number, item,
        table.concat(parts, ', '))
    end
  end
  if arg[16] then
    local entries, ids = call('HLEN', KEYS[2]), call('ZCARD', KEYS[3])
    if entries ~= items or ids ~= items then
      return string.format('the catalog has %.0f entries and %.0f ids, but knows of %.0f', entries,
        ids, items)
    end
  end
  return nil
end

if serving and not frozen then
  local reason = look_for_losses()
  if reason then frozen = {freeze_id, now, reason} end
end

-- Words and operands of an operation, by word, where the loop does not read them.
local length = (arg[10] or frozen or not serving) and {
  reserve = 6, confirm = 5, cancel = 4, lookup = 3, look = 2, visit = 1,
  ['return'] = 6, extend = 4, expire = 3, purge = 3,
  change = 9, claim = 3, unclaim = 3, lend = 7, credit = 4, reconcile = 4,
  create = 5, delete = 2, configure = 4, accept = 2,
  inspect = 4, list = 8, explain = 3,
  begin_create = 3, finish_create = 3, update = 6, finish_update = 4, begin_delete = 5,
  decide_delete = 5, finish_delete = 3, get = 2, items = 3,
  freeze = 3, release = 2, entries = 3,
}

-- The answer that comes next is that of so many operations.
local function alike(times)
  if times > 1 then
    out[n + 1], out[n + 2] = 'alike', times
    n = n + 2
  end
end

-- What keeps a shard from selling, or false.
local function sale_now(shard)
  return shard.selling == 3 and 'deleting'
    or (shard.selling == 2 or shard.sale_end and now >= shard.sale_end) and 'sale_ended'
    or shard.selling == 1 and 'paused'
    or shard.sale_start and now < shard.sale_start and 'not_started'
    or false
end

-- One Reserve, whatever may be said to it.
local function reserve(shard, at, quantity, sale, deadline, deadline6, hold)
  local key, record = shard.keys[at], settle(shard, at)
  local decided = true
  if record then
    -- A replay wins over everything. What was cancelled before it arrived was so
    -- for any quantity.
    local had, state = parse('>I3', record, 2), byte(record) % 8
    if had == 0 then
      show(shard, 'ended', record)
    elseif had ~= quantity then
      n = n + 1
      out[n] = 'reused'
    elseif state < 2 then
      show(shard, 'replayed', record)
    else
      show(shard, 'ended', record)
    end
  else
    local no, a, b, c
    if sale then
      no, a = sale, sale == 'not_started' and shard.sale_start or nil
    elseif quantity > shard.units_max then
      no, a = 'too_many', shard.units_max
    else
      if shard.limited or shard.available < quantity then
        no, a, b, c = refusal(shard, sub(key, 17), quantity)
        decided = no ~= 'short' and no ~= 'again'
      end
      if not no and full then no = 'full' end
    end
    if no then
      out[n + 1], out[n + 2], out[n + 3], out[n + 4] = no, a, b, c
      n = n + (c and 4 or b and 3 or a and 2 or 1)
    else
      take(shard, sub(key, 17), quantity)
      touch(shard)
      if shard.at_once then
        shard.sold = shard.sold + quantity
        record = pack('>BI3I3I6I6', 1, quantity, 0, now, now)
        local q = queue(shard, 'd')
        q.n = q.n + 1
        q[q.n] = now6 .. key
      else
        shard.held = shard.held + quantity
        record = hold
        local q = shard.e
        if deadline >= shard.last or q.len + q.n == q.popped then
          q.n = q.n + 1
          q[q.n] = deadline6 .. key
          shard.last = deadline
        else
          -- Below the last one queued: settings have changed.
          sort_in(shard, deadline6 .. key, true)
          record = '\16' .. sub(record, 2)
        end
      end
      shard.new[at] = record
      show(shard, 'granted', record)
    end
  end
  if decided and shard.claimant == key then end_claim(shard, key) end
end

local p, last = 1, #ops
while p <= last do
  turn = turn + 1
  local word = ops[p]
  local waits
  if (frozen or not serving) and word ~= 'visit' and word ~= 'freeze' and word ~= 'release'
    and word ~= 'entries' then
    if not serving then
      waits = 'not_yet'
    elseif word ~= 'configure' and word ~= 'delete' and word ~= 'reconcile'
      and word ~= 'accept' then
      waits = 'frozen'
    end
  end

  if waits then
    if word == 'reserve' then alike(ops[p + 3]) end
    n = n + 1
    out[n] = waits
    if waits == 'frozen' then
      out[n + 1], out[n + 2], out[n + 3] = unpack(frozen)
      n = n + 3
    end
    p = p + length[word]

  elseif word == 'reserve' then
    -- A run of equal ones, of records that follow each other.
    local shard, at, quantity = shards[ops[p + 1]] or read_shard(ops[p + 1]), ops[p + 2], ops[p + 4]
    local to = at + ops[p + 3] - 1
    if not shard.here then
      alike(ops[p + 3])
      n = n + 1
      out[n] = 'missing'
    elseif shard.version < ops[p + 5] then
      alike(ops[p + 3])
      out[n + 1], out[n + 2] = 'old_settings', shard.version
      n = n + 2
    else
      local sale = sale_now(shard)
      local deadline = now + shard.hold_ttl
      local deadline6 = pack('>I6', deadline)
      -- Equal for all that are granted.
      local hold = pack('>BI3I3', 0, quantity, 0) .. now6 .. deadline6
      local plain = not (sale or full or shard.counts or shard.at_once)
        and quantity <= shard.units_max
      local keys, old, new, q = shard.keys, shard.old, shard.new, shard.e
      while at <= to do
        -- Those of ids that nobody has used are granted without a further look, as
        -- long as there are units: in a sale nearly all, and of each only what is
        -- its own is done here.
        if plain and not shard.claimant
          and (deadline >= shard.last or q.len + q.n == q.popped) then
          local first, pushed = at, q.n
          local most = min(to, at + math.floor(shard.available / quantity) - 1)
          while at <= most and not old[at] and new[at] == nil do
            pushed = pushed + 1
            q[pushed] = deadline6 .. keys[at]
            new[at] = hold
            at = at + 1
          end
          local granted = at - first
          if granted > 0 then
            alike(granted)
            out[n + 1], out[n + 2] = 'granted', hold
            n = n + 2
            q.n, shard.last = pushed, deadline
            shard.available = shard.available - granted * quantity
            shard.held = shard.held + granted * quantity
            turn = turn + granted
            shard.turn, shard.revision, shard.dirty = turn, shard.revision + granted, true
          end
        end
        if at <= to then
          turn = turn + 1
          reserve(shard, at, quantity, sale, deadline, deadline6, hold)
          at = at + 1
        end
      end
    end
    p = p + 6

  elseif word == 'confirm' then
    local shard, at = shards[ops[p + 1]] or read_shard(ops[p + 1]), ops[p + 2]
    if not shard.here then
      n = n + 1
      out[n] = 'missing'
    else
      local key, record = shard.keys[at], settle(shard, at)
      local decided = true
      local state = record and byte(record) % 8
      if not record then
        n = n + 1
        out[n] = 'not_found'
      elseif state == 0 then
        local quantity = parse('>I3', record, 2)
        shard.held, shard.sold = shard.held - quantity, shard.sold + quantity
        show(shard, 'done', finish(shard, at, record, '\1', now6))
      elseif state == 1 then
        show(shard, 'done', record)
      elseif state ~= 3 or ops[p + 3] == 0 then
        show(shard, 'wrong_state', record)
      elseif shard.version < ops[p + 4] then
        decided = false
        out[n + 1], out[n + 2] = 'old_settings', shard.version
        n = n + 2
      elseif shard.selling == 3 then
        n = n + 1
        out[n] = 'deleting'
      else
        -- Late: takes the same quantity anew, by limit and stock, not by window
        -- or pause. Without units the loss is recorded (1: unless stock could be
        -- brought here), so that every repeat hears the same.
        local quantity, buyer = parse('>I3', record, 2), sub(key, 17)
        local no, a, b, c = refusal(shard, buyer, quantity)
        if not no then
          take(shard, buyer, quantity)
          shard.sold = shard.sold + quantity
          show(shard, 'done', finish(shard, at, record, '\9', now6))
        elseif no == 'over' or no == 'short' and ops[p + 3] == 2 then
          show(shard, 'wrong_state', finish(shard, at, record, '\4', now6))
        else
          decided = false
          n = n + 1
          out[n] = no
          if no == 'short' then
            out[n + 1], out[n + 2], out[n + 3] = a, b, c
            n = n + 3
          end
        end
      end
      if decided and shard.claimant == key then end_claim(shard, key) end
    end
    p = p + 5

  elseif word == 'cancel' then
    local shard, at = shards[ops[p + 1]] or read_shard(ops[p + 1]), ops[p + 2]
    if not shard.here then
      n = n + 1
      out[n] = 'missing'
    else
      local record = settle(shard, at)
      local state = record and byte(record) % 8
      if not record then
        if not ops[p + 3] then
          n = n + 1
          out[n] = 'not_found'
        elseif full then
          n = n + 1
          out[n] = 'full'
        else
          -- Not here (yet): refused if it still arrives.
          record = '\0\0\0\0\0\0\0' .. now6 .. now6
          show(shard, 'done', finish(shard, at, record, '\2', now6))
        end
      elseif state == 0 then
        local quantity = parse('>I3', record, 2)
        shard.held = shard.held - quantity
        gain(shard, quantity)
        uncount(shard, sub(shard.keys[at], 17), quantity)
        show(shard, 'done', finish(shard, at, record, '\2', now6))
      elseif state == 3 then
        show(shard, 'done', finish(shard, at, record, '\2', now6))
      else
        show(shard, state == 1 and 'wrong_state' or 'done', record)
      end
    end
    p = p + 4

  elseif word == 'lookup' then
    local shard = shards[ops[p + 1]] or read_shard(ops[p + 1])
    if not shard.here then
      n = n + 1
      out[n] = 'missing'
    else
      local record = settle(shard, ops[p + 2])
      if record then
        show(shard, 'done', record)
      else
        n = n + 1
        out[n] = 'not_found'
      end
    end
    p = p + 3

  elseif word == 'look' then
    local shard = shards[ops[p + 1]] or read_shard(ops[p + 1])
    n = n + 1
    if not shard.here then
      out[n] = 'missing'
    elseif expire_due(shard) then
      out[n] = 'read'
      reading(shard)
    else
      out[n] = 'again'
    end
    p = p + 2

  elseif word == 'visit' then
    out[n + 1], out[n + 2] = 'visited', false
    if frozen then
      out[n + 2], out[n + 3], out[n + 4] = unpack(frozen)
      n = n + 2
    end
    n = n + 2
    p = p + 1

  elseif whole[word] then
    whole[word](p)
    p = p + length[word]

  else
    local shard = shards[ops[p + 1]] or read_shard(ops[p + 1])
    if shard.here or word == 'create' or word == 'delete' then
      rare[word](shard, p)
    else
      n = n + 1
      out[n] = 'missing'
    end
    p = p + length[word]
  end
end

for _, shard in pairs(shards) do
  if shard.here and shard.dirty then
    store(shard)
    write_header(shard)
  elseif shard.unlink then
    unlink(shard.k)
  end
end
if store_catalog then store_catalog() end

local writes = {'seq', seq, 'time', now}
if frozen ~= was_frozen then
  writes[#writes + 1], writes[#writes + 2] = 'frz', frozen and encode(frozen) or ''
end
if releases ~= was_releases then
  writes[#writes + 1], writes[#writes + 2] = 'rel', releases
end
if store_catalog then writes[#writes + 1], writes[#writes + 2] = 'items', items end
--[[rule every-run-writes]]
call('HSET', KEYS[1], unpack(writes))
--[[else
local changed = store_catalog or frozen ~= was_frozen or releases ~= was_releases
for _, shard in pairs(shards) do changed = changed or shard.dirty or shard.unlink end
if changed then call('HSET', KEYS[1], unpack(writes)) else out[4] = seq - 1 end
]]
out[5] = releases

-- News: what makes untrue what servers remember. This one hears all of it by the
-- reply, others what they cannot do without. By now all is done, so a message
-- that cannot be sent is no error of the batch: the reply tells.
if gains or written then
  local entries, gained, first = {}, {}, {}
  for item in pairs(written or {}) do entries[#entries + 1] = item end
  for _, shard in pairs(shards) do
    if shard.gain then
      local item = string.match(KEYS[shard.k + 1], '^[^}]*}:(.*):%x+:%d+:h$')
      gained[#gained + 1] = item
      --[[rule freed-shards-are-told]]
      if shard.gain == 2 then first[#first + 1] = item end
      --[[else]]
    end
  end
  local sent = false
  if #entries > 0 or #first > 0 then
    local heard = redis.pcall('SPUBLISH', arg[17], encode({1, entries, first}))
    sent = type(heard) ~= 'table' or heard.err
  end
  out[n + 1], out[n + 2], out[n + 3] = entries, gained, sent
end
return encode(out)
