-- What is rarely asked of a shard: functions of (shard, p), p being the place of
-- the word in `ops`. Of `whole`: functions of (p), of catalog and stripe.

local rare, whole = {}, {}

-- Whether string a comes before b, byte by byte.
local is_before
if arg[14] or arg[15] then
  function is_before(a, b)
    for at = 1, min(#a, #b) do
      local x, y = byte(a, at), byte(b, at)
      if x ~= y then return x < y end
    end
    return #a < #b
  end
end

-- After a Reserve: returns and extensions; and the sweeps.
if arg[11] then
  rare['return'] = function(shard, p)
    local at, request, quantity, discard = ops[p + 2], ops[p + 3], ops[p + 4], ops[p + 5]
    local record = settle(shard, at)
    if not record then
      n = n + 1
      out[n] = 'not_found'
      return
    end
    if byte(record) % 8 ~= 1 then return show(shard, 'wrong_state', record) end
    local key = shard.keys[at]
    local returns = shard.returns and shard.returns[key]
    if returns == nil then
      returns = shard.size[2] > 0 and call('HGET', KEYS[shard.k + 3], key)
    end
    -- 20 bytes each: request, quantity, discard.
    local asked = request .. pack('>I3B', quantity, discard and 1 or 0)
    for from = 1, returns and #returns or 0, 20 do
      if sub(returns, from, from + 15) == request then
        if sub(returns, from, from + 19) == asked then return show(shard, 'done', record) end
        n = n + 1
        out[n] = 'reused'
        return
      end
    end
    local returned = parse('>I3', record, 5)
    local left = parse('>I3', record, 2) - returned
    if quantity > left then
      out[n + 1], out[n + 2] = 'return_too_large', left
      n = n + 2
      return
    end
    if discard then
      -- Still sold, as far as the stock goes: the unit exists no more.
      shard.discarded = shard.discarded + quantity
    else
      shard.sold = shard.sold - quantity
      gain(shard, quantity)
    end
    uncount(shard, sub(key, 17), quantity)
    shard.returns, shard.returned = shard.returns or {}, shard.returned or {}
    shard.returns[key], shard.returned[key] = (returns or '') .. asked, true
    record = sub(record, 1, 4) .. pack('>I3', returned + quantity) .. sub(record, 8)
    shard.new[at] = record
    touch(shard)
    show(shard, 'done', record)
  end

  rare.extend = function(shard, p)
    local at = ops[p + 2]
    local record = settle(shard, at)
    if not record then
      n = n + 1
      out[n] = 'not_found'
      return
    end
    if byte(record) % 16 ~= 0 then return show(shard, 'wrong_state', record) end
    local wanted, deadline = now + ops[p + 3], parse('>I6', record, 14)
    if wanted <= deadline then return show(shard, 'done', record) end
    local longest = parse('>I6', record, 8) + shard.max_hold
    if wanted > longest then
      out[n + 1], out[n + 2] = 'hold_too_long', max(0, max(longest, deadline) - now)
      n = n + 2
      return
    end
    local key, until6 = shard.keys[at], pack('>I6', wanted)
    if byte(record) == 16 then sort_in(shard, sub(record, 14) .. key, false) end
    sort_in(shard, until6 .. key, true)
    record = '\16' .. sub(record, 2, 13) .. until6
    shard.new[at] = record
    touch(shard)
    show(shard, 'done', record)
  end

  -- Also drops entries at the head that are stale before they are due, or long
  -- holds that were soon cancelled would fill the queue.
  local function expire_or_drop_next(shard, dry)
    local due = expire_next(shard, dry)
    if due then return due end
    local q = shard.e
    local entry = head(q)
    if not entry then return nil end
    local record = record_at(shard, q, entry)
    if record and byte(record) == 0 and sub(record, 14) == sub(entry, 1, 6) then return nil end
    if not dry then q.popped, shard.dirty = q.popped + 1, true end
    return 0
  end

  local function purge_next(shard, dry)
    local q, entry = queue(shard, 'd'), nil
    entry = head(q)
    if not entry or parse('>I6', entry) + shard.retention > now then
      q = queue(shard, 'u')
      entry = head(q)
      if not entry or parse('>I6', entry) + UNARRIVED_RETENTION_MS > now then return nil end
    end
    if dry then return 1 end
    local record, at = record_at(shard, q, entry)
    q.popped, shard.dirty = q.popped + 1, true
    if record and byte(record) % 8 ~= 0 and sub(record, 14) == sub(entry, 1, 6) then
      purge_one(shard, at, record)
      return 1
    end
    return 0
  end

  local function sweep(shard, limit, step)
    local changed, more = 0, nil
    for _ = 1, min(limit, steps) do
      local live = step(shard, false)
      if not live then
        more = false
        break
      end
      changed, steps = changed + live, steps - 1
    end
    if more == nil then more = step(shard, true) ~= nil end
    out[n + 1], out[n + 2], out[n + 3] = 'swept', changed, more
    n = n + 3
  end

  rare.expire = function(shard, p) sweep(shard, ops[p + 2], expire_or_drop_next) end
  rare.purge = function(shard, p) sweep(shard, ops[p + 2], purge_next) end
end
