export class CreateBookingDto {
  readonly expertId: string;
  readonly sessionType: string;
  readonly duration: number;
  readonly scheduledDate: string;
  readonly startTime: string;
}

export class ListQuery {
  status?: string;
  page = 1;
  limit = 20;
}
