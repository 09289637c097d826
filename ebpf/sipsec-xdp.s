
Disassembly of section .text:

0000000000000000 <memcpy>:
       0:	if r3 == 0 goto +9 <memcpy+0x50>
       1:	r4 = 0
       2:	r5 = r1
       3:	r5 += r4
       4:	r0 = r2
       5:	r0 += r4
       6:	r0 = *(u8 *)(r0 + 0)
       7:	*(u8 *)(r5 + 0) = r0
       8:	r4 += 1
       9:	if r4 < r3 goto -8 <memcpy+0x10>
      10:	exit

0000000000000058 <memmove>:
      11:	r4 = r1
      12:	r4 -= r2
      13:	if r4 >= r3 goto +11 <memmove+0x70>
      14:	r2 += -1
      15:	r1 += -1
      16:	r4 = r1
      17:	r4 += r3
      18:	r5 = r2
      19:	r5 += r3
      20:	r5 = *(u8 *)(r5 + 0)
      21:	*(u8 *)(r4 + 0) = r5
      22:	r3 += -1
      23:	if r3 != 0 goto -8 <memmove+0x28>
      24:	goto +10 <memmove+0xc0>
      25:	if r3 == 0 goto +9 <memmove+0xc0>
      26:	r4 = 0
      27:	r5 = r1
      28:	r5 += r4
      29:	r0 = r2
      30:	r0 += r4
      31:	r0 = *(u8 *)(r0 + 0)
      32:	*(u8 *)(r5 + 0) = r0
      33:	r4 += 1
      34:	if r4 < r3 goto -8 <memmove+0x80>
      35:	exit

0000000000000120 <memset>:
      36:	if r3 == 0 goto +6 <memset+0x38>
      37:	r4 = 0
      38:	r5 = r1
      39:	r5 += r4
      40:	*(u8 *)(r5 + 0) = r2
      41:	r4 += 1
      42:	if r4 < r3 goto -5 <memset+0x10>
      43:	exit

Disassembly of section xdp.frags:

0000000000000000 <inside_all>:
       0:	r2 = *(u32 *)(r1 + 16)
       1:	r6 = 1
       2:	r1 = 0 ll
       4:	r3 = 1
       5:	call 51
       6:	r1 = r0
       7:	r1 s>>= 63
       8:	r0 ^= r1
       9:	r0 -= r1
      10:	r0 <<= 32
      11:	r0 >>= 32
      12:	if r0 != 4 goto +10 <inside_all+0xb8>
      13:	r1 = 5
      14:	*(u32 *)(r10 - 4) = r1
      15:	r2 = r10
      16:	r2 += -4
      17:	r1 = 0 ll
      19:	call 1
      20:	r6 = 4
      21:	if r0 == 0 goto +12 <inside_all+0x110>
      22:	goto +8 <inside_all+0xf8>
      23:	r1 = 8
      24:	*(u32 *)(r10 - 8) = r1
      25:	r2 = r10
      26:	r2 += -8
      27:	r1 = 0 ll
      29:	call 1
      30:	if r0 == 0 goto +3 <inside_all+0x110>
      31:	r1 = *(u64 *)(r0 + 0)
      32:	r1 += 1
      33:	*(u64 *)(r0 + 0) = r1
      34:	r0 = r6
      35:	exit

0000000000000120 <inside_lpm>:
      36:	r3 = *(u32 *)(r1 + 4)
      37:	r2 = *(u32 *)(r1 + 0)
      38:	r4 = r2
      39:	r4 += 6
      40:	if r4 > r3 goto +113 <inside_lpm+0x3b0>
      41:	r4 = *(u8 *)(r2 + 0)
      42:	r4 &= 1
      43:	if r4 != 0 goto +264 <inside_lpm+0x880>
      44:	r4 = r2
      45:	r4 += 14
      46:	if r4 > r3 goto +107 <inside_lpm+0x3b0>
      47:	r5 = *(u8 *)(r2 + 13)
      48:	r0 = *(u8 *)(r2 + 12)
      49:	if r0 s> 133 goto +5 <inside_lpm+0x98>
      50:	if r0 == 8 goto +34 <inside_lpm+0x188>
      51:	if r0 == 129 goto +1 <inside_lpm+0x88>
      52:	goto +255 <inside_lpm+0x880>
      53:	if r5 == 0 goto +6 <inside_lpm+0xc0>
      54:	goto +253 <inside_lpm+0x880>
      55:	if r0 == 134 goto +84 <inside_lpm+0x340>
      56:	if r0 == 136 goto +1 <inside_lpm+0xb0>
      57:	goto +250 <inside_lpm+0x880>
      58:	if r5 == 168 goto +1 <inside_lpm+0xc0>
      59:	goto +248 <inside_lpm+0x880>
      60:	r5 = r2
      61:	r5 += 18
      62:	if r5 > r3 goto +91 <inside_lpm+0x3b0>
      63:	r0 = *(u8 *)(r4 + 0)
      64:	r0 &= 15
      65:	if r0 != 0 goto +242 <inside_lpm+0x880>
      66:	r0 = *(u8 *)(r4 + 2)
      67:	r0 <<= 8
      68:	r6 = *(u8 *)(r4 + 1)
      69:	r0 |= r6
      70:	r4 = *(u8 *)(r4 + 3)
      71:	r6 = r4
      72:	r6 <<= 16
      73:	r0 |= r6
      74:	r6 = r0
      75:	r6 &= 255
      76:	if r6 != 0 goto +231 <inside_lpm+0x880>
      77:	r0 >>= 8
      78:	r0 &= 255
      79:	if r0 s> 133 goto +85 <inside_lpm+0x408>
      80:	if r0 == 8 goto +122 <inside_lpm+0x538>
      81:	if r0 == 129 goto +1 <inside_lpm+0x178>
      82:	goto +225 <inside_lpm+0x880>
      83:	if r4 == 0 goto +86 <inside_lpm+0x430>
      84:	goto +223 <inside_lpm+0x880>
      85:	if r5 == 0 goto +1 <inside_lpm+0x198>
      86:	goto +221 <inside_lpm+0x880>
      87:	r2 += 34
      88:	if r2 > r3 goto +65 <inside_lpm+0x3b0>
      89:	r2 = *(u8 *)(r4 + 0)
      90:	r3 = r2
      91:	r3 &= 240
      92:	if r3 != 64 goto +215 <inside_lpm+0x880>
      93:	r2 &= 15
      94:	if r2 < 5 goto +213 <inside_lpm+0x880>
      95:	r2 = *(u8 *)(r4 + 19)
      96:	r2 <<= 24
      97:	r3 = *(u8 *)(r4 + 18)
      98:	r3 <<= 16
      99:	r3 |= r2
     100:	r2 = *(u8 *)(r4 + 17)
     101:	r2 <<= 8
     102:	r3 |= r2
     103:	r2 = *(u8 *)(r4 + 16)
     104:	r3 |= r2
     105:	r3 <<= 32
     106:	r3 |= 32
     107:	*(u64 *)(r10 - 24) = r3
     108:	r2 = r10
     109:	r2 += -24
     110:	r6 = r1
     111:	r1 = 0 ll
     113:	call 1
     114:	r1 = r6
     115:	if r0 == 0 goto +192 <inside_lpm+0x880>
     116:	r2 = *(u32 *)(r0 + 0)
     117:	if r2 == 0 goto +190 <inside_lpm+0x880>
     118:	r2 = *(u32 *)(r1 + 16)
     119:	r1 = 0 ll
     121:	r3 = 1
     122:	call 51
     123:	r1 = r0
     124:	r1 s>>= 63
     125:	r0 ^= r1
     126:	r0 -= r1
     127:	r0 <<= 32
     128:	r0 >>= 32
     129:	if r0 != 4 goto +99 <inside_lpm+0x608>
     130:	r1 = 5
     131:	*(u32 *)(r10 - 24) = r1
     132:	r2 = r10
     133:	r2 += -24
     134:	r1 = 0 ll
     136:	call 1
     137:	r1 = 4
     138:	if r0 == 0 goto +24 <inside_lpm+0x3f8>
     139:	goto +177 <inside_lpm+0x8c8>
     140:	if r5 == 221 goto +1 <inside_lpm+0x350>
     141:	goto +166 <inside_lpm+0x880>
     142:	if r4 >= r3 goto +11 <inside_lpm+0x3b0>
     143:	r4 = *(u8 *)(r4 + 0)
     144:	r4 &= 240
     145:	if r4 != 96 goto +162 <inside_lpm+0x880>
     146:	r4 = r2
     147:	r4 += 20
     148:	if r4 >= r3 goto +5 <inside_lpm+0x3b0>
     149:	r4 = 38
     150:	r5 = r2
     151:	r5 += 54
     152:	if r5 > r3 goto +1 <inside_lpm+0x3b0>
     153:	goto +98 <inside_lpm+0x6c0>
     154:	r1 = 7
     155:	*(u32 *)(r10 - 24) = r1
     156:	r2 = r10
     157:	r2 += -24
     158:	r1 = 0 ll
     160:	call 1
     161:	r1 = 2
     162:	if r0 != 0 goto +154 <inside_lpm+0x8c8>
     163:	r0 = r1
     164:	exit
     165:	if r0 == 134 goto +49 <inside_lpm+0x598>
     166:	if r0 == 136 goto +1 <inside_lpm+0x420>
     167:	goto +140 <inside_lpm+0x880>
     168:	if r4 == 168 goto +1 <inside_lpm+0x430>
     169:	goto +138 <inside_lpm+0x880>
     170:	r4 = r2
     171:	r4 += 22
     172:	if r4 > r3 goto -19 <inside_lpm+0x3b0>
     173:	r0 = *(u8 *)(r5 + 0)
     174:	r0 &= 15
     175:	if r0 != 0 goto +132 <inside_lpm+0x880>
     176:	r0 = *(u8 *)(r5 + 2)
     177:	r0 <<= 8
     178:	r6 = *(u8 *)(r5 + 1)
     179:	r0 |= r6
     180:	r5 = *(u8 *)(r5 + 3)
     181:	r5 <<= 16
     182:	r0 |= r5
     183:	r5 = r0
     184:	r5 &= 255
     185:	if r5 != 0 goto +122 <inside_lpm+0x880>
     186:	r5 = r0
     187:	r5 >>= 16
     188:	r0 >>= 8
     189:	r0 &= 255
     190:	if r0 == 134 goto +48 <inside_lpm+0x658>
     191:	if r0 != 8 goto +116 <inside_lpm+0x880>
     192:	if r5 == 0 goto +1 <inside_lpm+0x4f0>
     193:	goto +114 <inside_lpm+0x880>
     194:	r2 += 42
     195:	if r2 > r3 goto -42 <inside_lpm+0x3b0>
     196:	r2 = *(u8 *)(r4 + 0)
     197:	r3 = r2
     198:	r3 &= 240
     199:	if r3 != 64 goto +108 <inside_lpm+0x880>
     200:	r2 &= 15
     201:	if r2 < 5 goto +106 <inside_lpm+0x880>
     202:	goto -108 <inside_lpm+0x1d8>
     203:	if r4 == 0 goto +1 <inside_lpm+0x548>
     204:	goto +103 <inside_lpm+0x880>
     205:	r2 += 38
     206:	if r2 > r3 goto -53 <inside_lpm+0x3b0>
     207:	r2 = *(u8 *)(r5 + 0)
     208:	r3 = r2
     209:	r3 &= 240
     210:	if r3 != 64 goto +97 <inside_lpm+0x880>
     211:	r2 &= 15
     212:	r4 = r5
     213:	if r2 < 5 goto +94 <inside_lpm+0x880>
     214:	goto -120 <inside_lpm+0x1d8>
     215:	if r4 == 221 goto +1 <inside_lpm+0x5a8>
     216:	goto +91 <inside_lpm+0x880>
     217:	if r5 >= r3 goto -64 <inside_lpm+0x3b0>
     218:	r4 = *(u8 *)(r5 + 0)
     219:	r4 &= 240
     220:	if r4 != 96 goto +87 <inside_lpm+0x880>
     221:	r4 = r2
     222:	r4 += 24
     223:	if r4 >= r3 goto -70 <inside_lpm+0x3b0>
     224:	r4 = 42
     225:	r5 = r2
     226:	r5 += 58
     227:	if r5 > r3 goto -74 <inside_lpm+0x3b0>
     228:	goto +23 <inside_lpm+0x6c0>
     229:	r1 = 8
     230:	*(u32 *)(r10 - 24) = r1
     231:	r2 = r10
     232:	r2 += -24
     233:	r1 = 0 ll
     235:	call 1
     236:	r1 = 1
     237:	if r0 == 0 goto -75 <inside_lpm+0x3f8>
     238:	goto +78 <inside_lpm+0x8c8>
     239:	if r5 == 221 goto +1 <inside_lpm+0x668>
     240:	goto +67 <inside_lpm+0x880>
     241:	if r4 >= r3 goto -88 <inside_lpm+0x3b0>
     242:	r4 = *(u8 *)(r4 + 0)
     243:	r4 &= 240
     244:	if r4 != 96 goto +63 <inside_lpm+0x880>
     245:	r4 = r2
     246:	r4 += 28
     247:	if r4 >= r3 goto -94 <inside_lpm+0x3b0>
     248:	r4 = 46
     249:	r5 = r2
     250:	r5 += 62
     251:	if r5 > r3 goto -98 <inside_lpm+0x3b0>
     252:	r4 += r2
     253:	r2 = *(u8 *)(r4 + 13)
     254:	r2 <<= 8
     255:	r3 = *(u8 *)(r4 + 12)
     256:	r2 |= r3
     257:	r5 = *(u8 *)(r4 + 14)
     258:	r5 <<= 16
     259:	r3 = *(u8 *)(r4 + 15)
     260:	r3 <<= 24
     261:	r3 |= r5
     262:	r0 = *(u8 *)(r4 + 9)
     263:	r0 <<= 8
     264:	r5 = *(u8 *)(r4 + 8)
     265:	r0 |= r5
     266:	r6 = *(u8 *)(r4 + 10)
     267:	r6 <<= 16
     268:	r5 = *(u8 *)(r4 + 11)
     269:	r5 <<= 24
     270:	r5 |= r6
     271:	r6 = *(u8 *)(r4 + 5)
     272:	r6 <<= 8
     273:	r7 = *(u8 *)(r4 + 4)
     274:	r6 |= r7
     275:	r7 = *(u8 *)(r4 + 6)
     276:	r7 <<= 16
     277:	r8 = *(u8 *)(r4 + 7)
     278:	r8 <<= 24
     279:	r8 |= r7
     280:	r8 |= r6
     281:	r5 |= r0
     282:	r3 |= r2
     283:	r2 = *(u8 *)(r4 + 0)
     284:	r0 = *(u8 *)(r4 + 3)
     285:	r6 = *(u8 *)(r4 + 2)
     286:	r4 = *(u8 *)(r4 + 1)
     287:	r7 = 128
     288:	*(u32 *)(r10 - 24) = r7
     289:	*(u32 *)(r10 - 8) = r3
     290:	*(u32 *)(r10 - 12) = r5
     291:	*(u32 *)(r10 - 16) = r8
     292:	r4 <<= 8
     293:	r6 <<= 16
     294:	r6 |= r4
     295:	r0 <<= 24
     296:	r0 |= r6
     297:	r0 |= r2
     298:	*(u32 *)(r10 - 20) = r0
     299:	r2 = r10
     300:	r2 += -24
     301:	r6 = r1
     302:	r1 = 0 ll
     304:	call 1
     305:	r1 = r6
     306:	if r0 == 0 goto +1 <inside_lpm+0x880>
     307:	goto -192 <inside_lpm+0x280>
     308:	r1 = 6
     309:	*(u32 *)(r10 - 24) = r1
     310:	r2 = r10
     311:	r2 += -24
     312:	r1 = 0 ll
     314:	call 1
     315:	r1 = 2
     316:	if r0 == 0 goto -154 <inside_lpm+0x3f8>
     317:	r2 = *(u64 *)(r0 + 0)
     318:	r2 += 1
     319:	*(u64 *)(r0 + 0) = r2
     320:	goto -158 <inside_lpm+0x3f8>

0000000000000a08 <outside>:
     321:	r0 = 3
     322:	r2 = *(u32 *)(r1 + 4)
     323:	r3 = *(u32 *)(r1 + 0)
     324:	r5 = r3
     325:	r5 += 14
     326:	if r5 > r2 goto +222 <outside+0x720>
     327:	r4 = *(u8 *)(r3 + 13)
     328:	r6 = *(u8 *)(r3 + 12)
     329:	if r6 s> 133 goto +6 <outside+0x78>
     330:	if r6 == 8 goto +38 <outside+0x180>
     331:	r0 = 1
     332:	if r6 == 129 goto +1 <outside+0x68>
     333:	goto +215 <outside+0x720>
     334:	if r4 == 0 goto +7 <outside+0xa8>
     335:	goto +213 <outside+0x720>
     336:	if r6 == 134 goto +85 <outside+0x328>
     337:	r0 = 1
     338:	if r6 == 136 goto +1 <outside+0x98>
     339:	goto +209 <outside+0x720>
     340:	if r4 == 168 goto +1 <outside+0xa8>
     341:	goto +207 <outside+0x720>
     342:	r6 = r3
     343:	r6 += 18
     344:	r0 = 3
     345:	if r6 > r2 goto +203 <outside+0x720>
     346:	r4 = *(u8 *)(r5 + 0)
     347:	r4 &= 15
     348:	r0 = 1
     349:	if r4 != 0 goto +199 <outside+0x720>
     350:	r7 = *(u8 *)(r5 + 2)
     351:	r7 <<= 8
     352:	r4 = *(u8 *)(r5 + 1)
     353:	r7 |= r4
     354:	r4 = *(u8 *)(r5 + 3)
     355:	r5 = r4
     356:	r5 <<= 16
     357:	r7 |= r5
     358:	r5 = r7
     359:	r5 &= 255
     360:	if r5 != 0 goto +188 <outside+0x720>
     361:	r7 >>= 8
     362:	r7 &= 255
     363:	if r7 s> 133 goto +77 <outside+0x3c0>
     364:	if r7 == 8 goto +122 <outside+0x530>
     365:	if r7 == 129 goto +1 <outside+0x170>
     366:	goto +182 <outside+0x720>
     367:	if r4 == 0 goto +78 <outside+0x3e8>
     368:	goto +180 <outside+0x720>
     369:	r0 = 1
     370:	if r4 == 0 goto +1 <outside+0x198>
     371:	goto +177 <outside+0x720>
     372:	r4 = r3
     373:	r4 += 34
     374:	r0 = 3
     375:	if r4 > r2 goto +173 <outside+0x720>
     376:	r4 = *(u8 *)(r5 + 0)
     377:	r6 = r4
     378:	r6 &= 240
     379:	r0 = 1
     380:	if r6 != 64 goto +168 <outside+0x720>
     381:	r7 = 14
     382:	r4 <<= 2
     383:	r4 &= 60
     384:	if r4 < 20 goto +164 <outside+0x720>
     385:	r6 = *(u8 *)(r5 + 9)
     386:	if r6 != 17 goto +1 <outside+0x218>
     387:	r0 = 2
     388:	if r6 != 17 goto +160 <outside+0x720>
     389:	r6 = *(u8 *)(r5 + 6)
     390:	r6 &= 63
     391:	if r6 != 0 goto +157 <outside+0x720>
     392:	r6 = *(u8 *)(r5 + 7)
     393:	if r6 != 0 goto +155 <outside+0x720>
     394:	r4 += r3
     395:	r4 += r7
     396:	r3 = r4
     397:	r3 += 8
     398:	r0 = 3
     399:	if r3 > r2 goto +149 <outside+0x720>
     400:	*(u64 *)(r10 - 104) = r1
     401:	r1 = 255
     402:	*(u64 *)(r10 - 88) = r1
     403:	r1 = 0
     404:	r0 = *(u8 *)(r5 + 16)
     405:	r2 = *(u8 *)(r5 + 17)
     406:	*(u64 *)(r10 - 56) = r2
     407:	r2 = *(u8 *)(r5 + 18)
     408:	*(u64 *)(r10 - 72) = r2
     409:	r9 = *(u8 *)(r5 + 19)
     410:	r2 = 0
     411:	*(u64 *)(r10 - 64) = r2
     412:	*(u64 *)(r10 - 40) = r2
     413:	*(u64 *)(r10 - 32) = r2
     414:	*(u64 *)(r10 - 96) = r2
     415:	r7 = 255
     416:	r8 = 0
     417:	r3 = 0
     418:	*(u64 *)(r10 - 80) = r2
     419:	r5 = 0
     420:	*(u64 *)(r10 - 48) = r5
     421:	goto +212 <outside+0x9c8>
     422:	r0 = 1
     423:	if r4 == 221 goto +1 <outside+0x340>
     424:	goto +124 <outside+0x720>
     425:	r0 = 3
     426:	if r5 >= r2 goto +122 <outside+0x720>
     427:	r4 = *(u8 *)(r5 + 0)
     428:	r4 &= 240
     429:	r0 = 1
     430:	if r4 != 96 goto +118 <outside+0x720>
     431:	r6 = r3
     432:	r6 += 20
     433:	r0 = 3
     434:	if r6 >= r2 goto +114 <outside+0x720>
     435:	r4 = 54
     436:	r5 = 38
     437:	r7 = r3
     438:	r7 += 54
     439:	if r7 > r2 goto +109 <outside+0x720>
     440:	goto +98 <outside+0x6d0>
     441:	if r7 == 134 goto +62 <outside+0x5b8>
     442:	if r7 == 136 goto +1 <outside+0x3d8>
     443:	goto +105 <outside+0x720>
     444:	if r4 == 168 goto +1 <outside+0x3e8>
     445:	goto +103 <outside+0x720>
     446:	r5 = r3
     447:	r5 += 22
     448:	r0 = 3
     449:	if r5 > r2 goto +99 <outside+0x720>
     450:	r4 = *(u8 *)(r6 + 0)
     451:	r4 &= 15
     452:	r0 = 1
     453:	if r4 != 0 goto +95 <outside+0x720>
     454:	r4 = *(u8 *)(r6 + 2)
     455:	r4 <<= 8
     456:	r0 = *(u8 *)(r6 + 1)
     457:	r4 |= r0
     458:	r0 = *(u8 *)(r6 + 3)
     459:	r0 <<= 16
     460:	r4 |= r0
     461:	r6 = r4
     462:	r6 &= 255
     463:	r0 = 1
     464:	if r6 != 0 goto +84 <outside+0x720>
     465:	r6 = r4
     466:	r6 >>= 16
     467:	r4 >>= 8
     468:	r4 &= 255
     469:	if r4 == 134 goto +52 <outside+0x648>
     470:	if r4 != 8 goto +78 <outside+0x720>
     471:	if r6 == 0 goto +1 <outside+0x4c0>
     472:	goto +76 <outside+0x720>
     473:	r4 = r3
     474:	r4 += 42
     475:	r0 = 3
     476:	if r4 > r2 goto +72 <outside+0x720>
     477:	r4 = *(u8 *)(r5 + 0)
     478:	r6 = r4
     479:	r6 &= 240
     480:	r0 = 1
     481:	if r6 != 64 goto +67 <outside+0x720>
     482:	r7 = 22
     483:	r4 <<= 2
     484:	r4 &= 60
     485:	if r4 < 20 goto +63 <outside+0x720>
     486:	goto -102 <outside+0x200>
     487:	if r4 == 0 goto +1 <outside+0x540>
     488:	goto +60 <outside+0x720>
     489:	r4 = r3
     490:	r4 += 38
     491:	r0 = 3
     492:	if r4 > r2 goto +56 <outside+0x720>
     493:	r4 = *(u8 *)(r6 + 0)
     494:	r5 = r4
     495:	r5 &= 240
     496:	r0 = 1
     497:	if r5 != 64 goto +51 <outside+0x720>
     498:	r7 = 18
     499:	r4 <<= 2
     500:	r4 &= 60
     501:	r5 = r6
     502:	if r4 < 20 goto +46 <outside+0x720>
     503:	goto -119 <outside+0x200>
     504:	if r4 == 221 goto +1 <outside+0x5c8>
     505:	goto +43 <outside+0x720>
     506:	r0 = 3
     507:	if r6 >= r2 goto +41 <outside+0x720>
     508:	r4 = *(u8 *)(r6 + 0)
     509:	r4 &= 240
     510:	r0 = 1
     511:	if r4 != 96 goto +37 <outside+0x720>
     512:	r6 = r3
     513:	r6 += 24
     514:	r0 = 3
     515:	if r6 >= r2 goto +33 <outside+0x720>
     516:	r4 = 58
     517:	r5 = 42
     518:	r7 = r3
     519:	r7 += 58
     520:	if r7 > r2 goto +28 <outside+0x720>
     521:	goto +17 <outside+0x6d0>
     522:	if r6 == 221 goto +1 <outside+0x658>
     523:	goto +25 <outside+0x720>
     524:	r0 = 3
     525:	if r5 >= r2 goto +23 <outside+0x720>
     526:	r4 = *(u8 *)(r5 + 0)
     527:	r4 &= 240
     528:	r0 = 1
     529:	if r4 != 96 goto +19 <outside+0x720>
     530:	r6 = r3
     531:	r6 += 28
     532:	r0 = 3
     533:	if r6 >= r2 goto +15 <outside+0x720>
     534:	r4 = 62
     535:	r5 = 46
     536:	r7 = r3
     537:	r7 += 62
     538:	if r7 > r2 goto +10 <outside+0x720>
     539:	r6 = *(u8 *)(r6 + 0)
     540:	r0 = 1
     541:	if r6 == 17 goto +1 <outside+0x6f0>
     542:	goto +6 <outside+0x720>
     543:	r4 += r3
     544:	r6 = r4
     545:	r6 += 8
     546:	r0 = 3
     547:	if r6 > r2 goto +1 <outside+0x720>
     548:	goto +10 <outside+0x770>
     549:	*(u32 *)(r10 - 20) = r0
     550:	r2 = r10
     551:	r2 += -20
     552:	r1 = 0 ll
     554:	call 1
     555:	r1 = 2
     556:	if r0 != 0 goto +157 <outside+0xc48>
     557:	r0 = r1
     558:	exit
     559:	*(u64 *)(r10 - 104) = r1
     560:	r5 += r3
     561:	r1 = *(u8 *)(r5 + 5)
     562:	r1 <<= 32
     563:	r2 = *(u8 *)(r5 + 6)
     564:	r2 <<= 40
     565:	r2 |= r1
     566:	r3 = *(u8 *)(r5 + 2)
     567:	r3 <<= 8
     568:	r1 = *(u8 *)(r5 + 1)
     569:	r3 |= r1
     570:	r0 = *(u8 *)(r5 + 3)
     571:	r0 <<= 16
     572:	r1 = *(u8 *)(r5 + 4)
     573:	r1 <<= 24
     574:	r1 |= r0
     575:	r1 |= r3
     576:	r3 = *(u8 *)(r5 + 7)
     577:	*(u64 *)(r10 - 32) = r3
     578:	r3 <<= 48
     579:	r3 |= r2
     580:	r2 = *(u8 *)(r5 + 13)
     581:	r2 <<= 8
     582:	r0 = *(u8 *)(r5 + 12)
     583:	r2 |= r0
     584:	r6 = *(u8 *)(r5 + 14)
     585:	r6 <<= 16
     586:	r0 = *(u8 *)(r5 + 15)
     587:	r0 <<= 24
     588:	r0 |= r6
     589:	r7 = *(u8 *)(r5 + 9)
     590:	r7 <<= 8
     591:	r6 = *(u8 *)(r5 + 8)
     592:	r7 |= r6
     593:	r8 = *(u8 *)(r5 + 10)
     594:	r8 <<= 16
     595:	r6 = *(u8 *)(r5 + 11)
     596:	r6 <<= 24
     597:	r6 |= r8
     598:	r6 |= r7
     599:	r0 |= r2
     600:	r2 = *(u8 *)(r5 + 0)
     601:	*(u64 *)(r10 - 48) = r2
     602:	r2 = r3
     603:	r2 >>= 32
     604:	*(u64 *)(r10 - 40) = r2
     605:	r1 |= r3
     606:	r3 >>= 40
     607:	r2 = r1
     608:	r2 >>= 24
     609:	*(u64 *)(r10 - 80) = r2
     610:	r9 = r0
     611:	r9 <<= 32
     612:	r2 = r9
     613:	r2 >>= 40
     614:	*(u64 *)(r10 - 56) = r2
     615:	r2 = r9
     616:	r2 >>= 48
     617:	*(u64 *)(r10 - 72) = r2
     618:	r8 = r9
     619:	r8 |= r6
     620:	r9 >>= 56
     621:	r2 = r1
     622:	r2 >>= 16
     623:	*(u64 *)(r10 - 64) = r2
     624:	r2 = r1
     625:	r2 >>= 8
     626:	r5 = r8
     627:	r5 >>= 8
     628:	*(u64 *)(r10 - 96) = r5
     629:	r7 = r8
     630:	r7 >>= 16
     631:	r5 = r8
     632:	r5 >>= 24
     633:	*(u64 *)(r10 - 88) = r5
     634:	r6 = *(u8 *)(r4 + 2)
     635:	r4 = *(u8 *)(r4 + 3)
     636:	r5 = 0
     637:	*(u8 *)(r10 - 1) = r5
     638:	*(u8 *)(r10 - 2) = r5
     639:	*(u8 *)(r10 - 3) = r4
     640:	*(u8 *)(r10 - 4) = r6
     641:	*(u8 *)(r10 - 5) = r9
     642:	r4 = *(u64 *)(r10 - 72)
     643:	*(u8 *)(r10 - 6) = r4
     644:	r4 = *(u64 *)(r10 - 56)
     645:	*(u8 *)(r10 - 7) = r4
     646:	*(u8 *)(r10 - 8) = r0
     647:	r4 = *(u64 *)(r10 - 88)
     648:	*(u8 *)(r10 - 9) = r4
     649:	*(u8 *)(r10 - 10) = r7
     650:	r4 = *(u64 *)(r10 - 96)
     651:	*(u8 *)(r10 - 11) = r4
     652:	*(u8 *)(r10 - 12) = r8
     653:	r4 = *(u64 *)(r10 - 32)
     654:	*(u8 *)(r10 - 13) = r4
     655:	*(u8 *)(r10 - 14) = r3
     656:	r3 = *(u64 *)(r10 - 40)
     657:	*(u8 *)(r10 - 15) = r3
     658:	r3 = *(u64 *)(r10 - 80)
     659:	*(u8 *)(r10 - 16) = r3
     660:	r3 = *(u64 *)(r10 - 64)
     661:	*(u8 *)(r10 - 17) = r3
     662:	*(u8 *)(r10 - 18) = r2
     663:	*(u8 *)(r10 - 19) = r1
     664:	r1 = *(u64 *)(r10 - 48)
     665:	*(u8 *)(r10 - 20) = r1
     666:	r2 = r10
     667:	r2 += -20
     668:	r1 = 0 ll
     670:	call 1
     671:	if r0 == 0 goto +33 <outside+0xc00>
     672:	r1 = *(u64 *)(r10 - 104)
     673:	r2 = *(u32 *)(r1 + 16)
     674:	r1 = 0 ll
     676:	r3 = 1
     677:	call 51
     678:	r1 = r0
     679:	r1 s>>= 63
     680:	r0 ^= r1
     681:	r0 -= r1
     682:	r0 <<= 32
     683:	r0 >>= 32
     684:	if r0 != 4 goto +10 <outside+0xbb0>
     685:	r1 = 0
     686:	*(u32 *)(r10 - 20) = r1
     687:	r2 = r10
     688:	r2 += -20
     689:	r1 = 0 ll
     691:	call 1
     692:	r1 = 4
     693:	if r0 == 0 goto -137 <outside+0x760>
     694:	goto +19 <outside+0xc48>
     695:	r1 = 4
     696:	*(u32 *)(r10 - 20) = r1
     697:	r2 = r10
     698:	r2 += -20
     699:	r1 = 0 ll
     701:	call 1
     702:	r1 = 1
     703:	if r0 == 0 goto -147 <outside+0x760>
     704:	goto +9 <outside+0xc48>
     705:	r1 = 1
     706:	*(u32 *)(r10 - 20) = r1
     707:	r2 = r10
     708:	r2 += -20
     709:	r1 = 0 ll
     711:	call 1
     712:	r1 = 2
     713:	if r0 == 0 goto -157 <outside+0x760>
     714:	r2 = *(u64 *)(r0 + 0)
     715:	r2 += 1
     716:	*(u64 *)(r0 + 0) = r2
     717:	goto -161 <outside+0x760>
