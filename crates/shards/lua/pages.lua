-- The life of a shard.
if arg[13] then
  rare.create = function(shard, p)
    if not shard.here then
      local s, supply = ops[p + 2], ops[p + 4]
      local opening = supply or 0
      local made = make(shard.k, shard.keys, {
        ops[p + 3], 0, s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10],
        supply, opening, 0, 0, 0, 0, opening, 0, false, false, false, 0, 0,
        [34] = 0,
      }, {0, 0, 0, 0, 0, 0, 0, 0})
      made.dirty, made.unlink = true, shard.unlink
      shards[ops[p + 1]] = made
    end
    n = n + 1
    out[n] = 'created'
  end

  rare.delete = function(shard, p)
    shards[ops[p + 1]] = {k = shard.k, keys = shard.keys, here = false, unlink = true}
    n = n + 1
    out[n] = 'deleted'
  end

  rare.configure = function(shard, p)
    local s, version = ops[p + 2], ops[p + 3]
    if version > shard.version then
      touch(shard)
      shard.version = version
      shard.selling, shard.sale_start, shard.sale_end = s[1], s[2], s[3]
      shard.hold_ttl, shard.max_hold, shard.at_once, shard.counts = s[4], s[5], s[6], s[7]
      shard.buyer_max, shard.units_max, shard.retention = s[8], s[9], s[10]
      shard.limited = s[7] and s[8] > 0
    end
    out[n + 1], out[n + 2] = 'configured', shard.version
    n = n + 2
  end

  -- Part of a release: what is missing is not missed any more.
  rare.accept = function(shard)
    if frozen and shard.lost then shard.lost, shard.dirty = nil, true end
    n = n + 1
    out[n] = 'accepted'
  end
end

-- Reading much of a shard. HSCAN's places are decimal; what it meets is what is
-- stored, so what is pending is written before.
if arg[14] then
  rare.inspect = function(shard, p)
    local from, limit = ops[p + 2], ops[p + 3]
    n = n + 1
    out[n] = 'inspected'
    reading(shard)
    local records, held, sold, following = 0, 0, 0, false
    if limit > 0 then
      store(shard)
      local page = call('HSCAN', KEYS[shard.k + 2], from, 'COUNT', limit)
      local list = page[2]
      for at = 2, #list, 2 do
        local state, quantity, returned = parse('>BI3I3', list[at])
        records = records + 1
        if state % 16 == 0 then
          held = held + quantity
        elseif state % 8 == 1 then
          sold = sold + quantity - returned
        end
      end
      following = page[1] ~= '0' and page[1]
    end
    out[n + 1], out[n + 2], out[n + 3], out[n + 4] = records, held, sold, following
    n = n + 4
  end

  -- The records of one step of HSCAN that are asked for, as settling would leave
  -- them: {key, record, ...}.
  local function wanted(shard, group, buyer, states)
    local found = {}
    for at = 1, #group, 2 do
      local key, record = group[at], group[at + 1]
      if byte(record) % 16 == 0 and parse('>I6', record, 14) <= now then
        record = '\3' .. sub(record, 2)
      end
      local state = byte(record) % 8
      local is_there = true
      if state ~= 0 then
        local keep = shard.retention
        if sub(record, 2, 4) == '\0\0\0' then keep = UNARRIVED_RETENTION_MS end
        is_there = parse('>I6', record, 14) + keep > now
      end
      if is_there and (not buyer or sub(key, 17) == buyer)
        and (states == '' or string.find(states, string.char(state), 1, true)) then
        found[#found + 1] = {key, record}
      end
    end
    return found
  end

  -- Tells a set of keys from others: whatever was cut off a step, its rest is
  -- found again only if the step still begins with the same ones.
  local function sum_to(last, group)
    local sum = 0
    for at = 1, #group, 2 do
      if not is_before(last, group[at]) then
        sum = (sum + parse('>I6', group[at], 11)) % 281474976710656
      end
    end
    return sum
  end

  -- Goes on at HSCAN's place `from`. A step that has more than a page holds is
  -- cut, in the order of keys, after `last`; `mark` is the sum of what came up to
  -- there. If that is another one by now (the table shrank), the step begins
  -- anew. No mark: it was the whole hash, where what is new need not be met.
  rare.list = function(shard, p)
    local from, last, mark = ops[p + 2], ops[p + 3], ops[p + 4]
    local limit, buyer, states = max(1, ops[p + 5]), ops[p + 6], ops[p + 7]
    store(shard)
    n = n + 2
    out[n - 1] = 'listed'
    local count_at, count, looks = n, 0, 0
    -- LIST_LOOKS_MAX.
    while from and count < limit and looks < 1024 do
      local step = call('HSCAN', KEYS[shard.k + 2], from, 'COUNT', 1)
      local group = step[2]
      local found = wanted(shard, group, buyer, states)
      if last and (not mark or mark == sum_to(last, group)) then
        local rest = {}
        for at = 1, #found do
          if is_before(last, found[at][1]) then rest[#rest + 1] = found[at] end
        end
        found = rest
      end
      looks = looks + #group / 2
      if count + #found <= limit then
        local whole_is_read = step[1] == '0'
        from, last, mark = not whole_is_read and step[1], false, false
      elseif count == 0 then
        table.sort(found, function(a, b) return is_before(a[1], b[1]) end)
        for at = #found, limit + 1, -1 do found[at] = nil end
        last = found[limit][1]
        mark = not (from == '0' and step[1] == '0') and sum_to(last, group)
      else
        -- Left for the next page.
        break
      end
      for at = 1, #found do show(shard, found[at][1], found[at][2]) end
      count = count + #found
    end
    out[count_at] = count
    out[n + 1], out[n + 2], out[n + 3] = from, last, mark
    n = n + 3
  end

  rare.explain = function(shard, p)
    local buyer = ops[p + 2]
    if not expire_due(shard) then
      n = n + 1
      out[n] = 'again'
      return
    end
    n = n + 1
    out[n] = 'explained'
    reading(shard)
    n = n + 1
    out[n] = shard.counts and units_of(shard, buyer)
  end
end
