export class ProductsService {
  private readonly items: { id: string; price: number; status: string; notes: string }[] = [];

  cheap() {
    return this.items.filter((item) => item.price < 5 && item.status === 'listed').map((item) => item.notes);
  }
}
